// SPDX-License-Identifier: GPL-2.0-or-later
/* Which blocks hold data; the others read as zeros. */
#include "internal.h"

static size_t words(u64 bits)
{
	return (bits + NVC_WORD_BITS - 1) / NVC_WORD_BITS;
}

static u64 chunks(u64 blocks)
{
	return (blocks + NVC_CHUNK_BITS - 1) / NVC_CHUNK_BITS;
}

static void assign(u64 *bits, u64 first, u64 count, bool value)
{
	while (count) {
		u32 shift = first % NVC_WORD_BITS;
		u32 n = nvc_min(NVC_WORD_BITS - shift, count);
		u64 mask = ~0ULL >> (NVC_WORD_BITS - n) << shift;

		if (value)
			bits[first / NVC_WORD_BITS] |= mask;
		else
			bits[first / NVC_WORD_BITS] &= ~mask;
		first += n;
		count -= n;
	}
}

/* Blocks from @slba to the end of its chunk, at most @nlb. */
static u64 in_chunk(u64 slba, u64 nlb)
{
	return nvc_min(NVC_CHUNK_BITS - slba % NVC_CHUNK_BITS, nlb);
}

size_t nvc_written_size(u64 blocks)
{
	u64 bits = chunks(blocks) * (NVC_CHUNK_BITS / NVC_WORD_BITS);

	return (words(chunks(blocks)) + bits) * sizeof(u64);
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
	if (nvc_bit(w->used, chunk))
		return;
	memset(w->bits + chunk * (NVC_CHUNK_BITS / NVC_WORD_BITS), 0, NVC_CHUNK_BITS / 8);
	assign(w->used, chunk, 1, true);
}

void nvc_written_set(struct nvc_written *w, u64 slba, u64 nlb)
{
	while (nlb) {
		u64 n = in_chunk(slba, nlb);

		use_chunk(w, slba / NVC_CHUNK_BITS);
		assign(w->bits, slba, n, true);
		slba += n;
		nlb -= n;
	}
}

static void clear_part(struct nvc_written *w, u64 slba, u64 nlb)
{
	if (nlb && nvc_bit(w->used, slba / NVC_CHUNK_BITS))
		assign(w->bits, slba, nlb, false);
}

void nvc_written_clear(struct nvc_written *w, u64 slba, u64 nlb)
{
	u64 head = slba % NVC_CHUNK_BITS ? in_chunk(slba, nlb) : 0;
	u64 whole = (nlb - head) / NVC_CHUNK_BITS;
	u64 tail = (nlb - head) % NVC_CHUNK_BITS;

	clear_part(w, slba, head);
	assign(w->used, (slba + head) / NVC_CHUNK_BITS, whole, false);
	clear_part(w, slba + nlb - tail, tail);
}

/* How many of @word's lowest bits equal @value. */
static u32 alike(u64 word, bool value)
{
	u64 other = value ? ~word : word;

	return other ? __builtin_ctzll(other) : NVC_WORD_BITS;
}

/* Blocks from @slba that are as @written says, as far as one step sees. */
static u64 step(const struct nvc_written *w, u64 slba, u64 nlb, bool written)
{
	u32 shift = slba % NVC_WORD_BITS;

	if (!nvc_bit(w->used, slba / NVC_CHUNK_BITS))
		return written ? 0 : in_chunk(slba, nlb);
	nlb = nvc_min(NVC_WORD_BITS - shift, nlb);
	return nvc_min(alike(w->bits[slba / NVC_WORD_BITS] >> shift, written), nlb);
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
