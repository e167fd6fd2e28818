/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core share, and nobody else sees. */
#ifndef NVC_INTERNAL_H
#define NVC_INTERNAL_H

#include "nvc.h"

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
void nvc_written_init(struct nvc_written *w, void *memory, u64 blocks);
void nvc_written_set(struct nvc_written *w, u64 slba, u64 nlb);
void nvc_written_clear(struct nvc_written *w, u64 slba, u64 nlb);
u64 nvc_written_run(const struct nvc_written *w, u64 slba, u64 nlb, bool *written);

/**
 * struct nvc_media - one kind of device
 * @size: bytes of the kind's own state, a multiple of 8
 * @reset: drop the work under way; also makes the state of a new device
 * @target: carry out a valid command from @c->now on, and say when it is due
 */
struct nvc_media {
	size_t (*size)(const struct nvc_config *config);
	void (*reset)(struct nvc *c);
	u64 (*target)(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges);
};

extern const struct nvc_media nvc_nvm;

/**
 * struct nvc_slot - a fault rule and what became of it
 * @rule: the rule
 * @random: its source of chance
 * @seen: commands that matched
 * @hits: commands hit
 * @read_only: the namespace it made read-only, or 0
 */
struct nvc_slot {
	struct nvc_rule rule;
	u64 random;
	u64 seen;
	u64 hits;
	u32 read_only;
};

/**
 * struct nvc_rules - all fault rules
 * @set: which slots have one, as bits
 * @slots: the rules
 */
struct nvc_rules {
	u32 set;
	struct nvc_slot slots[NVC_MAX_RULES];
};

int nvc_rules_set(struct nvc *c, u32 slot, const struct nvc_rule *rule);
void nvc_rules_apply(struct nvc *c, const struct nvc_cmd *cmd,
		     const struct nvc_range *ranges, struct nvc_decision *decision);

/**
 * struct nvc - a device
 * @config: as created; @config.timing is the one in force
 * @media: functions of its kind
 * @state: the kind's own, in the same piece of memory
 * @written: what reads as data
 * @counters: totals
 * @rules: faults
 * @now: latest time seen
 * @seq: latest input
 */
struct nvc {
	struct nvc_config config;
	const struct nvc_media *media;
	void *state;
	struct nvc_written written;
	struct nvc_counters counters;
	struct nvc_rules rules;
	u64 now;
	u64 seq;
};

#endif
