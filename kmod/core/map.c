// SPDX-License-Identifier: GPL-2.0-or-later
/* A bit for each block, cheap to make and to clear as a whole. */
#include "internal.h"

#define WORD_BITS 64
#define CHUNK_BITS 4096

static size_t words(u64 bits)
{
	return (bits + WORD_BITS - 1) / WORD_BITS;
}

static u64 chunks(u64 blocks)
{
	return (blocks + CHUNK_BITS - 1) / CHUNK_BITS;
}

static bool test(const u64 *bits, u64 bit)
{
	return bits[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

static void clear_bits(u64 *bits, u64 first, u64 count)
{
	while (count) {
		u32 shift = first % WORD_BITS;
		u32 n = nvc_min(WORD_BITS - shift, count);

		bits[first / WORD_BITS] &= ~(~0ULL >> (WORD_BITS - n) << shift);
		first += n;
		count -= n;
	}
}

/* Returns whether all were set before. */
static bool set_bits(u64 *bits, u64 first, u64 count)
{
	bool before = true;

	while (count) {
		u32 shift = first % WORD_BITS;
		u32 n = nvc_min(WORD_BITS - shift, count);
		u64 mask = ~0ULL >> (WORD_BITS - n) << shift;
		u64 *word = &bits[first / WORD_BITS];

		before &= !(mask & ~*word);
		*word |= mask;
		first += n;
		count -= n;
	}
	return before;
}

/* Blocks from @slba to the end of its chunk, at most @nlb. */
static u64 in_chunk(u64 slba, u64 nlb)
{
	return nvc_min(CHUNK_BITS - slba % CHUNK_BITS, nlb);
}

size_t nvc_map_size(u64 blocks)
{
	return (words(chunks(blocks)) + chunks(blocks) * (CHUNK_BITS / WORD_BITS)) * sizeof(u64);
}

void nvc_map_init(struct nvc_map *w, void *memory, u64 blocks)
{
	size_t n = words(chunks(blocks));

	w->used = memory;
	w->bits = w->used + n;
	memset(w->used, 0, n * sizeof(u64));
}

static void use_chunk(struct nvc_map *w, u64 chunk)
{
	if (test(w->used, chunk))
		return;
	memset(w->bits + chunk * (CHUNK_BITS / WORD_BITS), 0, CHUNK_BITS / 8);
	set_bits(w->used, chunk, 1);
}

/* Returns whether all were set before. */
bool nvc_map_set(struct nvc_map *w, u64 slba, u64 nlb)
{
	bool before = true;

	while (nlb) {
		u64 n = in_chunk(slba, nlb);

		use_chunk(w, slba / CHUNK_BITS);
		before &= set_bits(w->bits, slba, n);
		slba += n;
		nlb -= n;
	}
	return before;
}

static void clear_part(struct nvc_map *w, u64 slba, u64 nlb)
{
	if (nlb && test(w->used, slba / CHUNK_BITS))
		clear_bits(w->bits, slba, nlb);
}

void nvc_map_clear(struct nvc_map *w, u64 slba, u64 nlb)
{
	u64 head = slba % CHUNK_BITS ? in_chunk(slba, nlb) : 0;
	u64 whole = (nlb - head) / CHUNK_BITS;
	u64 tail = (nlb - head) % CHUNK_BITS;

	clear_part(w, slba, head);
	clear_bits(w->used, (slba + head) / CHUNK_BITS, whole);
	clear_part(w, slba + nlb - tail, tail);
}

/* How many of @word's lowest bits equal @value. */
static u32 alike(u64 word, bool value)
{
	u64 other = value ? ~word : word;

	return other ? __builtin_ctzll(other) : WORD_BITS;
}

/* Blocks from @slba that are as @value says, as far as one step sees. */
static u64 step(const struct nvc_map *w, u64 slba, u64 nlb, bool value)
{
	u32 shift = slba % WORD_BITS;

	if (!test(w->used, slba / CHUNK_BITS))
		return value ? 0 : in_chunk(slba, nlb);
	nlb = nvc_min(WORD_BITS - shift, nlb);
	return nvc_min(alike(w->bits[slba / WORD_BITS] >> shift, value), nlb);
}

u64 nvc_map_run(const struct nvc_map *w, u64 slba, u64 nlb, bool *value)
{
	u64 run = 0;
	u64 n;

	*value = step(w, slba, 1, true);
	do {
		n = step(w, slba + run, nlb - run, *value);
		run += n;
	} while (n && run < nlb);
	return run;
}
