/* Every public declaration of csrc/, in reading order. ffi_build.py turns this file into what
 * Python sees; C files include the single headers they need. */
#ifndef RC_RIBCAGE_H
#define RC_RIBCAGE_H
#include "base.h"
#include "segment_layout.h"
#include "row_layout.h"
#include "fib_layout.h"
#include "fib.h"
#include "fib_multibit.h"
#include "event_layout.h"
#include "system.h"
#include "row_layout.h"
#include "rib.h"
#endif
