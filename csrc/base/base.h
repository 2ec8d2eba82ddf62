/* What every file of csrc/ starts from: integer types, the loads and stores that are shared
 * between processes, and the marks that keep C-only lines away from cffi.
 *
 * Use: include it first. A shared word is a plain uintN_t in its struct (so that the same
 * declaration serves cffi) and is touched ONLY through load_* / store_* below; a plain access to
 * a shared word is a bug. RC_CFFI is defined while the headers are turned into Python
 * declarations: system headers, inline functions and asserts disappear then.
 */
#ifndef RC_BASE_H
#define RC_BASE_H

#ifdef RC_CFFI

#define RC_STATIC_ASSERT(condition, text)
#define RC_INLINE_SECTION 0

#else

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef RC_ANY_LAYOUT /* tests/csrc/test_layout_identity.py changes structs to see another id */
#define RC_STATIC_ASSERT(condition, text)
#else
#define RC_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#define RC_INLINE_SECTION 1

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The place before each load of a shared word: where a test stops a reader (tests/csrc/fib/test_moments.c).
 * Compiled to nothing but in builds with -DRC_LOAD_POINTS. */
void load_point(void);
#ifdef RC_LOAD_POINTS
#define RC_LOAD() load_point()
#else
#define RC_LOAD() ((void)0)
#endif

/* Shared words. Names say the ordering, so that a reviewer sees it at the call. */
static inline uint32_t load_relaxed32(const uint32_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint32_t *)p, memory_order_relaxed);
}
static inline uint64_t load_relaxed64(const uint64_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint64_t *)p, memory_order_relaxed);
}
static inline uint8_t load_relaxed8(const uint8_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint8_t *)p, memory_order_relaxed);
}
static inline uint16_t load_relaxed16(const uint16_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint16_t *)p, memory_order_relaxed);
}
static inline void store_relaxed8(uint8_t *p, uint8_t v)
{
    atomic_store_explicit((_Atomic uint8_t *)p, v, memory_order_relaxed);
}
static inline void store_relaxed16(uint16_t *p, uint16_t v)
{
    atomic_store_explicit((_Atomic uint16_t *)p, v, memory_order_relaxed);
}
static inline uint32_t load_acquire32(const uint32_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint32_t *)p, memory_order_acquire);
}
static inline uint64_t load_acquire64(const uint64_t *p)
{
    RC_LOAD();
    return atomic_load_explicit((const _Atomic uint64_t *)p, memory_order_acquire);
}
static inline void store_relaxed32(uint32_t *p, uint32_t v)
{
    atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_relaxed);
}
static inline void store_relaxed64(uint64_t *p, uint64_t v)
{
    atomic_store_explicit((_Atomic uint64_t *)p, v, memory_order_relaxed);
}
static inline void store_release32(uint32_t *p, uint32_t v)
{
    atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_release);
}
static inline void store_release64(uint64_t *p, uint64_t v)
{
    atomic_store_explicit((_Atomic uint64_t *)p, v, memory_order_release);
}

/* A point at which the crash tests stop the writer. Compiled to nothing but in builds with
 * -DRC_FAULT_POINTS, where the test supplies the function (see tests/crash/). */
void fault_point(const char *name);
#ifdef RC_FAULT_POINTS
#define RC_FAULT(name) fault_point(name)
#else
#define RC_FAULT(name) ((void)0)
#endif

#endif /* RC_CFFI */
#endif
