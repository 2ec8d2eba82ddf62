/* Every public declaration of csrc/, in reading order. ffi_build.py turns this file into what
 * Python sees; C files include the single headers they need. */
#ifndef RC_RIBCAGE_H
#define RC_RIBCAGE_H
#include "base.h"
#include "segment_layout.h"
#include "segment_map.h"
#include "row_layout.h"
#include "fib_layout.h"
#include "fib.h"
#include "sync_layout.h"
#include "fib_choices.h"
#include "fib_binary.h"
#include "fib_multibit.h"
#include "fib_compact.h"
#include "fib_interval.h"
#include "event_layout.h"
#include "system.h"
#include "rib.h"
#include "rib_aggregate.h"
#include "row_assign.h"
#include "verify.h"
#include "packet.h"
#include "address_class.h"
#include "checksum.h"
#include "limiter.h"
#include "stats_layout.h"
#include "stats.h"
#include "event.h"
#include "port_filter.h"
#include "port_socket.h"
#include "worker.h"
#endif

