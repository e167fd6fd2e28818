/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core share, and nobody else sees. */
#ifndef NVC_INTERNAL_H
#define NVC_INTERNAL_H

#include "nvc_ssd.h"

/**
 * struct nvc_written - which blocks hold data, one bit each
 * @used: one bit per chunk; where it is clear, the chunk's @bits mean nothing
 * @bits: one bit per block
 *
 * The upper level makes a device, a deallocated drive and a format cost
 * nothing: their bits are not touched. 0.024 % of capacity at 512 B blocks.
 */
struct nvc_written {
	u64 *used;
	u64 *bits;
};

size_t nvc_written_size(u64 blocks);
void nvc_written_attach(struct nvc_written *w, void *memory, u64 blocks);
void nvc_written_reset(struct nvc_written *w, u64 blocks);
void nvc_written_set(struct nvc_written *w, u64 slba, u64 nlb);
void nvc_written_clear(struct nvc_written *w, u64 slba, u64 nlb);
u64 nvc_written_run(const struct nvc_written *w, u64 slba, u64 nlb, bool *written);

/* Bits of a word of the map, and blocks that one bit of @used stands for. */
#define NVC_WORD_BITS 64
#define NVC_CHUNK_BITS 4096

static inline bool nvc_bit(const u64 *bits, u64 bit)
{
	return bits[bit / NVC_WORD_BITS] >> (bit % NVC_WORD_BITS) & 1;
}

/* The state of @slba, lowest, and of the blocks behind it in its word. */
static inline u64 nvc_written_bits(const struct nvc_written *w, u64 slba)
{
	if (!nvc_bit(w->used, slba / NVC_CHUNK_BITS))
		return 0;
	return w->bits[slba / NVC_WORD_BITS] >> (slba % NVC_WORD_BITS);
}

/* Whether all of the blocks (1), none (0) or some (-1) hold data. */
static inline int nvc_written_all(const struct nvc_written *w, u64 slba, u64 nlb)
{
	bool written;

	if (nlb <= NVC_WORD_BITS - slba % NVC_WORD_BITS) {
		u64 mask = ~0ULL >> (NVC_WORD_BITS - nlb);
		u64 bits = nvc_written_bits(w, slba) & mask;

		return bits == mask ? 1 : -!!bits;
	}
	return nvc_written_run(w, slba, nlb, &written) < nlb ? -1 : written;
}

/**
 * struct nvc_media - one kind of device
 * @size: bytes of the kind's own state, a multiple of 8
 * @init: make the state of a new device
 * @attach: put in place what the state points to, after it was moved; or NULL
 * @reset: drop the work under way
 * @retime: the live part of the model has changed; or NULL
 * @target: carry out a valid command from @c->now on, and say when it is due
 * @cut: the power goes, see nvc_cut(); or NULL if nothing is ever lost
 */
struct nvc_media {
	size_t (*size)(const struct nvc_config *config);
	void (*init)(struct nvc *c);
	void (*attach)(struct nvc *c);
	void (*reset)(struct nvc *c);
	void (*retime)(struct nvc *c);
	u64 (*target)(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges);
	u32 (*cut)(struct nvc *c, struct nvc_lost *lost, u64 *ready);
};

extern const struct nvc_media nvc_nvm;
extern const struct nvc_media nvc_ssd;
extern const struct nvc_media nvc_hdd;

int nvc_model_check(const struct nvc_model *model);
int nvc_model_check_live(const struct nvc_model *from, const struct nvc_model *to);
int nvc_ssd_check(const struct nvc_config *config);
void nvc_attach(struct nvc *c);
void nvc_arrive(struct nvc *c, u64 now);

/**
 * struct nvc - a device
 * @config: as created; @config.timing is the one in force
 * @media: functions of its kind
 * @state: the kind's own, in the same piece of memory
 * @written: what reads as data
 * @counters: totals
 * @read_only: the medium can no longer be written
 * @now: latest time seen
 * @seq: latest input
 */
struct nvc {
	struct nvc_config config;
	const struct nvc_media *media;
	void *state;
	struct nvc_written written;
	struct nvc_counters counters;
	bool read_only;
	u64 now;
	u64 seq;
};

#endif
