/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz programs share: chance, a check that says which seed makes it
 * fail again, and the main function. LIBFUZZER is the name of libFuzzer's
 * function: then chance is the fuzzer's input, as far as it goes.
 */
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
static const u8 *input;
static size_t input_left;

/* splitmix64 */
static u64 random_number(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* Of the input two bytes, as they are, with chance above them. */
static u64 any(void)
{
	u64 number = random_number();

	if (input_left < 2)
		return number;
	number = number << 16 | input[0] << 8 | input[1];
	input += 2;
	input_left -= 2;
	return number;
}

static u64 below(u64 n)
{
	return any() % n;
}

/* Few and small, of any kind of cell. */
static inline void random_dies(struct nvc_model *m)
{
	m->channels = 1 + below(3);
	m->dies = 1 + below(3);
	m->planes = 1 + below(3);
	m->page_size = 4096 << below(3);
	m->cell_bits = 1 + below(4);
	m->program_pages = below(2) ? 1 : m->cell_bits;
	m->multi_plane = below(2);
}

/* From a new device to the end of it. */
static void one_round(void);

#ifdef LIBFUZZER
/* It learns more from many short rounds. */
#define LONG_ROUND(commands) ((commands) / 4)
#define EACH_STEP !below(6)

int LIBFUZZER(const u8 *data, size_t size);
int LIBFUZZER(const u8 *data, size_t size)
{
	input = data;
	input_left = size;
	seed = 0;
	one_round();
	return 0;
}
#else
#define LONG_ROUND(commands) (commands)
#define EACH_STEP true

int main(int argc, char **argv)
{
	u64 rounds;

	CHECK(argc == 3);
	seed = strtoull(argv[1], NULL, 0);
	for (rounds = strtoull(argv[2], NULL, 0); rounds; rounds--) {
		round_seed = seed;
		one_round();
	}
	puts("ok");
	return 0;
}
#endif

#endif
