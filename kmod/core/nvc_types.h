/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core takes from its surroundings, once for each body: integer
 * types, errno numbers, memset, and 64-bit division. Nothing else.
 */
#ifndef NVC_TYPES_H
#define NVC_TYPES_H

#ifdef __KERNEL__

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/types.h>

static inline u32 nvc_mod(u64 dividend, u32 divisor)
{
	u32 remainder;

	div_u64_rem(dividend, divisor, &remainder);
	return remainder;
}

static inline u64 nvc_div(u64 dividend, u32 divisor)
{
	return div_u64(dividend, divisor);
}

#else

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define noinline __attribute__((noinline))
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static inline u32 nvc_mod(u64 dividend, u32 divisor)
{
	return dividend % divisor;
}

static inline u64 nvc_div(u64 dividend, u32 divisor)
{
	return dividend / divisor;
}

#endif

static inline u64 nvc_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

static inline u64 nvc_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

#endif
