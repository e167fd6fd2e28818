// SPDX-License-Identifier: GPL-2.0-or-later
/* Which blocks hold data; the others read as zeros. */
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

/* The state of @slba, lowest, and of the blocks behind it in its word of 64. */
u64 nvc_written_bits(const struct nvc_written *w, u64 slba)
{
	if (!test(w->used, slba / CHUNK_BITS))
		return 0;
	return w->bits[slba / WORD_BITS] >> (slba % WORD_BITS);
}

static void assign(u64 *bits, u64 first, u64 count, bool value)
{
	while (count) {
		u32 shift = first % WORD_BITS;
		u32 n = nvc_min(WORD_BITS - shift, count);
		u64 mask = ~0ULL >> (WORD_BITS - n) << shift;

		if (value)
			bits[first / WORD_BITS] |= mask;
		else
			bits[first / WORD_BITS] &= ~mask;
		first += n;
		count -= n;
	}
}

/* Blocks from @slba to the end of its chunk, at most @nlb. */
static u64 in_chunk(u64 slba, u64 nlb)
{
	return nvc_min(CHUNK_BITS - slba % CHUNK_BITS, nlb);
}

size_t nvc_written_size(u64 blocks)
{
	return (words(chunks(blocks)) + chunks(blocks) * (CHUNK_BITS / WORD_BITS)) * sizeof(u64);
}

void nvc_written_attach(struct nvc_written *w, void *memory, u64 blocks)
{
	w->used = memory;
	w->bits = w->used + words(chunks(blocks));
}

void nvc_written_reset(struct nvc_written *w, u64 blocks)
{
	memset(w->used, 0, words(chunks(blocks)) * sizeof(u64));
}

static void use_chunk(struct nvc_written *w, u64 chunk)
{
	if (test(w->used, chunk))
		return;
	memset(w->bits + chunk * (CHUNK_BITS / WORD_BITS), 0, CHUNK_BITS / 8);
	assign(w->used, chunk, 1, true);
}

void nvc_written_set(struct nvc_written *w, u64 slba, u64 nlb)
{
	while (nlb) {
		u64 n = in_chunk(slba, nlb);

		use_chunk(w, slba / CHUNK_BITS);
		assign(w->bits, slba, n, true);
		slba += n;
		nlb -= n;
	}
}

static void clear_part(struct nvc_written *w, u64 slba, u64 nlb)
{
	if (nlb && test(w->used, slba / CHUNK_BITS))
		assign(w->bits, slba, nlb, false);
}

void nvc_written_clear(struct nvc_written *w, u64 slba, u64 nlb)
{
	u64 head = slba % CHUNK_BITS ? in_chunk(slba, nlb) : 0;
	u64 whole = (nlb - head) / CHUNK_BITS;
	u64 tail = (nlb - head) % CHUNK_BITS;

	clear_part(w, slba, head);
	assign(w->used, (slba + head) / CHUNK_BITS, whole, false);
	clear_part(w, slba + nlb - tail, tail);
}

/* How many of @word's lowest bits equal @value. */
static u32 alike(u64 word, bool value)
{
	u64 other = value ? ~word : word;

	return other ? __builtin_ctzll(other) : WORD_BITS;
}

/* Blocks from @slba that are as @written says, as far as one step sees. */
static u64 step(const struct nvc_written *w, u64 slba, u64 nlb, bool written)
{
	u32 shift = slba % WORD_BITS;

	if (!test(w->used, slba / CHUNK_BITS))
		return written ? 0 : in_chunk(slba, nlb);
	nlb = nvc_min(WORD_BITS - shift, nlb);
	return nvc_min(alike(w->bits[slba / WORD_BITS] >> shift, written), nlb);
}

u64 nvc_written_run(const struct nvc_written *w, u64 slba, u64 nlb, bool *written)
{
	u64 run = 0;
	u64 n;

	*written = step(w, slba, 1, true);
	do {
		n = step(w, slba + run, nlb - run, *written);
		run += n;
	} while (n && run < nlb);
	return run;
}

/* Whether all of the blocks (1), none (0) or some (-1) hold data. */
int nvc_written_all(const struct nvc_written *w, u64 slba, u64 nlb)
{
	bool written;

	if (nlb <= WORD_BITS - slba % WORD_BITS) {
		u64 mask = ~0ULL >> (WORD_BITS - nlb);
		u64 bits = nvc_written_bits(w, slba) & mask;

		return bits == mask ? 1 : -!!bits;
	}
	return nvc_written_run(w, slba, nlb, &written) < nlb ? -1 : written;
}
