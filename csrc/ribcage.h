/* Every public declaration of csrc/, in reading order. ffi_build.py turns this file into what
 * Python sees; C files include the single headers they need. */
#ifndef RC_RIBCAGE_H
#define RC_RIBCAGE_H
#include "base/base.h"
#include "layout/segment_layout.h"
#include "segment/map.h"
#include "layout/row_layout.h"
#include "layout/fib_layout.h"
#include "fib/fib.h"
#include "layout/sync_layout.h"
#include "fib/choices.h"
#include "engines/binary/binary.h"
#include "engines/multibit/multibit.h"
#include "engines/compact/compact.h"
#include "engines/interval/interval.h"
#include "layout/event_layout.h"
#include "base/system.h"
#include "rib/rib.h"
#include "rib/aggregate/aggregate.h"
#include "rows/assign.h"
#include "verify/verify.h"
#include "packet/packet.h"
#include "base/address_class.h"
#include "packet/checksum.h"
#include "forward/limiter.h"
#include "layout/stats_layout.h"
#include "report/stats.h"
#include "report/event.h"
#include "port/filter.h"
#include "port/socket.h"
#include "worker/worker.h"
#endif

