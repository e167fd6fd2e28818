/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzz programs share: chance, and a check that says which seed makes it fail again. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "nvc.h"

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: seed %llu: %s\n", __FILE__, __LINE__, \
				round_seed, #cond); \
			exit(1); \
		} \
	} while (0)

static u64 seed, round_seed;

/* splitmix64 */
static u64 any(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static u64 below(u64 n)
{
	return any() % n;
}

#endif
