/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core share, and nobody else sees. */
#ifndef NVC_INTERNAL_H
#define NVC_INTERNAL_H

#include "nvc.h"

/**
 * struct nvc_map - one bit for each block of the medium
 * @used: one bit per chunk; where it is clear, the chunk's @bits mean nothing
 * @bits: one bit per block
 *
 * The upper level makes a device, a deallocated drive and a format cost
 * nothing: their bits are not touched. 0.024 % of capacity.
 */
struct nvc_map {
	u64 *used;
	u64 *bits;
};

size_t nvc_map_size(u64 bits);
void nvc_map_init(struct nvc_map *w, void *memory, u64 bits);
bool nvc_map_set(struct nvc_map *w, u64 first, u64 count);
void nvc_map_clear(struct nvc_map *w, u64 first, u64 count);
u64 nvc_map_run(const struct nvc_map *w, u64 first, u64 count, bool *value);

/**
 * struct nvc_media - one kind of device
 * @size: bytes of the kind's own state, a multiple of 8
 * @reset: drop the work under way; also makes the state of a new device
 * @target: carry out a valid command from @c->now on, and say when it is due;
 *	@ns is NULL for all namespaces
 */
struct nvc_media {
	size_t (*size)(const struct nvc_config *config);
	void (*reset)(struct nvc *c);
	u64 (*target)(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_ns *ns, const struct nvc_range *ranges);
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

/* check.c: the status of a command; effect.c: what it does to the medium. */
u16 nvc_check_cmd(const struct nvc *c, const struct nvc_cmd *cmd,
		  const struct nvc_range *ranges);
bool nvc_changes(const struct nvc_cmd *cmd);
u16 nvc_carry_out(struct nvc *c, const struct nvc_cmd *cmd,
		  const struct nvc_range *ranges);

/* ns.c */
void nvc_ns_init(struct nvc *c);
int nvc_ns_alter(struct nvc *c, const struct nvc_ns_change *change);

/**
 * struct nvc - a device
 * @config: as created; @config.timing is the one in force
 * @media: functions of its kind
 * @state: the kind's own, in the same piece of memory
 * @written: what reads as data
 * @bad: what cannot be read
 * @ns: the namespaces, by NSID - 1
 * @capacity: bytes of the medium
 * @cache: whether the volatile write cache is there and enabled
 * @counters: totals
 * @rules: faults
 * @busy_until: when the latest command is due
 * @now: latest time seen
 * @seq: latest input
 */
struct nvc {
	struct nvc_config config;
	const struct nvc_media *media;
	void *state;
	struct nvc_map written;
	struct nvc_map bad;
	struct nvc_ns ns[NVC_MAX_NS];
	u64 capacity;
	bool cache;
	struct nvc_counters counters;
	struct nvc_rules rules;
	u64 busy_until;
	u64 now;
	u64 seq;
};

/* The namespace of a valid command, or NULL for all. */
static inline struct nvc_ns *nvc_ns_of(struct nvc *c, const struct nvc_cmd *cmd)
{
	return cmd->nsid == NVC_ALL_NS ? NULL : &c->ns[cmd->nsid - 1];
}

/* The bit of a block in the maps: namespaces begin at a chunk of bits. */
static inline u64 nvc_ns_bit(const struct nvc_ns *ns, u64 slba)
{
	return (ns->start >> NVC_MIN_BLOCK_SHIFT) + slba;
}

#endif
