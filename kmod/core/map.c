// SPDX-License-Identifier: GPL-2.0-or-later
/* A bit for each sector, cheap to make and to clear as a whole. */
#include "internal.h"

static size_t words(u64 bits)
{
	return (bits + NVC_WORD_BITS - 1) / NVC_WORD_BITS;
}

static u64 chunks(u64 sectors)
{
	return (sectors + NVC_CHUNK_BITS - 1) / NVC_CHUNK_BITS;
}

static void clear_bits(u64 *bits, u64 first, u64 count)
{
	while (count) {
		u32 shift = first % NVC_WORD_BITS;
		u32 n = nvc_min(NVC_WORD_BITS - shift, count);

		bits[first / NVC_WORD_BITS] &= ~(~0ULL >> (NVC_WORD_BITS - n) << shift);
		first += n;
		count -= n;
	}
}

/* Returns whether all were set before. */
static bool set_bits(u64 *bits, u64 first, u64 count)
{
	bool before = true;

	while (count) {
		u32 shift = first % NVC_WORD_BITS;
		u32 n = nvc_min(NVC_WORD_BITS - shift, count);
		u64 mask = ~0ULL >> (NVC_WORD_BITS - n) << shift;

		before &= (bits[first / NVC_WORD_BITS] & mask) == mask;
		bits[first / NVC_WORD_BITS] |= mask;
		first += n;
		count -= n;
	}
	return before;
}

/* Sectors from @first to the end of its chunk, at most @count. */
static u64 in_chunk(u64 first, u64 count)
{
	return nvc_min(NVC_CHUNK_BITS - first % NVC_CHUNK_BITS, count);
}

size_t nvc_map_size(u64 sectors)
{
	u64 bits = chunks(sectors) * (NVC_CHUNK_BITS / NVC_WORD_BITS);

	return (words(chunks(sectors)) + bits) * sizeof(u64);
}

void nvc_map_attach(struct nvc_map *w, void *memory, u64 sectors)
{
	w->used = memory;
	w->bits = w->used + words(chunks(sectors));
}

void nvc_map_reset(struct nvc_map *w, u64 sectors)
{
	memset(w->used, 0, words(chunks(sectors)) * sizeof(u64));
}

static void use_chunk(struct nvc_map *w, u64 chunk)
{
	if (nvc_bit(w->used, chunk))
		return;
	memset(w->bits + chunk * (NVC_CHUNK_BITS / NVC_WORD_BITS), 0, NVC_CHUNK_BITS / 8);
	set_bits(w->used, chunk, 1);
}

/* Returns whether all were set before. */
bool nvc_map_set(struct nvc_map *w, struct nvc_extent at)
{
	bool before = true;

	while (at.count) {
		u64 n = in_chunk(at.first, at.count);

		use_chunk(w, at.first / NVC_CHUNK_BITS);
		before &= set_bits(w->bits, at.first, n);
		at.first += n;
		at.count -= n;
	}
	return before;
}

static void clear_part(struct nvc_map *w, u64 first, u64 count)
{
	if (count && nvc_bit(w->used, first / NVC_CHUNK_BITS))
		clear_bits(w->bits, first, count);
}

void nvc_map_clear(struct nvc_map *w, struct nvc_extent at)
{
	u64 head = at.first % NVC_CHUNK_BITS ? in_chunk(at.first, at.count) : 0;
	u64 whole = (at.count - head) / NVC_CHUNK_BITS;
	u64 tail = (at.count - head) % NVC_CHUNK_BITS;

	clear_part(w, at.first, head);
	clear_bits(w->used, (at.first + head) / NVC_CHUNK_BITS, whole);
	clear_part(w, at.first + at.count - tail, tail);
}

/* How many of @word's lowest bits equal @value. */
static u32 alike(u64 word, bool value)
{
	u64 other = value ? ~word : word;

	return other ? __builtin_ctzll(other) : NVC_WORD_BITS;
}

/* Sectors from @first that are as @value says, as far as one step sees. */
static u64 step(const struct nvc_map *w, u64 first, u64 count, bool value)
{
	u32 shift = first % NVC_WORD_BITS;

	if (!nvc_bit(w->used, first / NVC_CHUNK_BITS))
		return value ? 0 : in_chunk(first, count);
	count = nvc_min(NVC_WORD_BITS - shift, count);
	return nvc_min(alike(w->bits[first / NVC_WORD_BITS] >> shift, value), count);
}

/* How many sectors from the first on are as it is, and how that is. */
u64 nvc_map_run(const struct nvc_map *w, struct nvc_extent at, bool *value)
{
	u64 run = 0;
	u64 n;

	*value = step(w, at.first, 1, true);
	do {
		n = step(w, at.first + run, at.count - run, *value);
		run += n;
	} while (n && run < at.count);
	return run;
}

/* As nvc_map_all(), of sectors in several words. */
int nvc_map_all_far(const struct nvc_map *w, struct nvc_extent at)
{
	bool value;

	return nvc_map_run(w, at, &value) < at.count ? -1 : value;
}
