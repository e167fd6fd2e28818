/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core share, and nobody else sees. */
#ifndef NVC_INTERNAL_H
#define NVC_INTERNAL_H

#include "nvc_ssd.h"

/**
 * struct nvc_extent - blocks of a namespace as the medium has them
 * @first: first sector; they are 512 bytes each, whatever a block is
 * @count: sectors
 */
struct nvc_extent {
	u64 first;
	u64 count;
};

/**
 * struct nvc_map - one bit for each sector of the medium
 * @used: one bit per chunk; where it is clear, the chunk's @bits mean nothing
 * @bits: one bit per sector
 *
 * The upper level makes a device, a deallocated drive and a format cost
 * nothing: their bits are not touched. 0.024 % of capacity.
 */
struct nvc_map {
	u64 *used;
	u64 *bits;
};

size_t nvc_map_size(u64 sectors);
void nvc_map_attach(struct nvc_map *w, void *memory, u64 sectors);
void nvc_map_reset(struct nvc_map *w, u64 sectors);
bool nvc_map_set(struct nvc_map *w, struct nvc_extent at);
void nvc_map_clear(struct nvc_map *w, struct nvc_extent at);
u64 nvc_map_run(const struct nvc_map *w, struct nvc_extent at, bool *value);
int nvc_map_all_far(const struct nvc_map *w, struct nvc_extent at);

/* splitmix64 */
static inline u64 nvc_next_random(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* Bits of a word of a map, and sectors that one bit of @used stands for. */
#define NVC_WORD_BITS 64
#define NVC_CHUNK_BITS 4096

static inline bool nvc_bit(const u64 *bits, u64 bit)
{
	return bits[bit / NVC_WORD_BITS] >> (bit % NVC_WORD_BITS) & 1;
}

/* The state of sector @first, lowest, and of those behind it in its word. */
static inline u64 nvc_map_bits(const struct nvc_map *w, u64 first)
{
	if (!nvc_bit(w->used, first / NVC_CHUNK_BITS))
		return 0;
	return w->bits[first / NVC_WORD_BITS] >> (first % NVC_WORD_BITS);
}

/* Whether all of the sectors (1), none (0) or some (-1) are set. */
static inline int nvc_map_all(const struct nvc_map *w, struct nvc_extent at)
{
	if (at.first % NVC_WORD_BITS + at.count <= NVC_WORD_BITS) {
		u64 mask = ~0ULL >> (NVC_WORD_BITS - at.count);
		u64 bits = nvc_map_bits(w, at.first) & mask;

		return bits == mask ? 1 : -!!bits;
	}
	return nvc_map_all_far(w, at);
}

struct nvc_part;

/**
 * struct nvc_media - one kind of device
 * @size: bytes of the kind's own state, a multiple of 8
 * @init: make the state of a new device
 * @attach: put in place what the state points to, after it was moved; or NULL
 * @reset: drop the work under way
 * @retime: the live part of the model has changed; or NULL
 * @target: carry out a valid command from @c->now on, and say when it is due;
 *	@ns is NULL for all namespaces. The maps change only afterwards
 * @read: decide a valid Read that nothing special is switched on for, as most
 *	commands are: @target and all else of it, in less time; or NULL
 * @forget: a namespace is deleted or formatted: nobody wants what was there; or NULL
 * @settle: the volatile write cache is to be off: its data go to the medium; or NULL
 * @cut: the power goes, see nvc_cut(); or NULL if nothing is ever lost
 * @wake: the clock changes, and nothing is under way: @c->now is the new time; or
 *	NULL if @reset does
 * @parts: pieces of its state that a snapshot has. Returns how many
 * @thaw: look at them, and make what follows from them. Returns whether it can be
 */
struct nvc_media {
	size_t (*size)(const struct nvc_config *config);
	void (*init)(struct nvc *c);
	void (*attach)(struct nvc *c);
	void (*reset)(struct nvc *c);
	void (*retime)(struct nvc *c);
	u64 (*target)(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_ns *ns, const struct nvc_range *ranges);
	void (*read)(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_decision *decision);
	void (*forget)(struct nvc *c, struct nvc_extent at);
	void (*settle)(struct nvc *c);
	u32 (*cut)(struct nvc *c, struct nvc_lost *lost, u64 *ready);
	void (*wake)(struct nvc *c);
	u32 (*parts)(const struct nvc *c, struct nvc_part *parts);
	bool (*thaw)(struct nvc *c);
};

extern const struct nvc_media nvc_nvm;
extern const struct nvc_media nvc_ssd;
extern const struct nvc_media nvc_hdd;
extern const struct nvc_media nvc_zns;
extern const struct nvc_media nvc_kv;

int nvc_model_check(const struct nvc_model *model);
int nvc_model_check_live(const struct nvc_model *from, const struct nvc_model *to);
int nvc_ssd_check(const struct nvc_config *config);
int nvc_zns_check(const struct nvc_config *config);
int nvc_kv_check_config(const struct nvc_config *config);
void nvc_attach(struct nvc *c);
void nvc_arrive(struct nvc *c, u64 now);

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

/* Whether the controller that a command came to has the namespace. */
static inline bool nvc_attached(const struct nvc_ns *ns, const struct nvc_cmd *cmd)
{
	return cmd->ctrl < NVC_MAX_CTRLS && ns->attached >> cmd->ctrl & 1;
}

/* Of a command for blocks: there are some, not too many, and all inside. */
static inline u16 nvc_check_stretch(const struct nvc_ns *ns, const struct nvc_cmd *cmd)
{
	if (!cmd->nlb || cmd->nlb > NVC_MAX_BLOCKS)
		return NVC_SC_INVALID_FIELD;
	if (cmd->slba > ns->blocks || cmd->nlb > ns->blocks - cmd->slba)
		return NVC_SC_LBA_RANGE;
	return NVC_SC_SUCCESS;
}

/* check.c: the status of a command; effect.c: what it does to the medium. */
u16 nvc_check_cmd(const struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		  const struct nvc_range *ranges);
bool nvc_changes(const struct nvc_cmd *cmd);
u16 nvc_carry_out(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_ns *ns,
		  const struct nvc_range *ranges);

/* zone_check.c, zns.c: what is different on a zoned namespace. */
u16 nvc_zone_check(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd,
		   const struct nvc_range *ranges);
struct nvc_cmd nvc_zone_place(const struct nvc *c, const struct nvc_ns *ns,
			      const struct nvc_cmd *cmd);
void nvc_zns_protect(struct nvc *c);
void nvc_zns_namespaces(struct nvc *c);

/* kv_check.c, kv.c: what is different on a key value namespace. */
bool nvc_kv_knows(u8 opcode);
u16 nvc_kv_check(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd);
u32 nvc_kv_bytes(const struct nvc *c, const struct nvc_cmd *cmd);
u16 nvc_kv_carry_out(struct nvc *c, const struct nvc_cmd *cmd);
u64 nvc_kv_result(const struct nvc *c, const struct nvc_cmd *cmd);
void nvc_kv_namespaces(struct nvc *c);

/* place.c */
int nvc_place_tell(struct nvc *c, u64 handle, u32 tell);

/* ns.c */
void nvc_ns_init(struct nvc *c);
int nvc_ns_alter(struct nvc *c, const struct nvc_ns_change *change);
bool nvc_ns_sound(const struct nvc *c);

/**
 * struct nvc - a device
 * @config: as created; @config.timing is the one in force
 * @media: functions of its kind
 * @state: the kind's own, in the same piece of memory
 * @zns: of NVC_ZNS, what zones need, behind @state
 * @kv: of NVC_KV, what keys need, likewise
 * @written: what reads as data
 * @bad: what cannot be read
 * @ns: the namespaces, by NSID - 1
 * @capacity: bytes of the medium
 * @cache: controllers for which the volatile write cache is there and enabled, as bits
 * @counters: totals
 * @rules: faults
 * @busy_until: when the latest command is due
 * @read_only: the medium can no longer be written
 * @now: latest time seen
 * @seq: latest input
 */
struct nvc {
	struct nvc_config config;
	const struct nvc_media *media;
	void *state;
	struct zns *zns;
	struct kv *kv;
	struct nvc_map written;
	struct nvc_map bad;
	struct nvc_ns ns[NVC_MAX_NS];
	u64 capacity;
	u32 cache;
	struct nvc_counters counters;
	struct nvc_rules rules;
	u64 busy_until;
	bool read_only;
	u64 now;
	u64 seq;
};

/* Counts sectors read. Returns enum nvc_data. */
static inline u16 nvc_read_data(struct nvc *c, struct nvc_extent at)
{
	int all = nvc_map_all(&c->written, at);

	c->counters.bytes_read += at.count << NVC_MIN_BLOCK_SHIFT;
	if (all < 0)
		return NVC_DATA_MIXED;
	return all ? NVC_DATA_COPY : NVC_DATA_ZERO;
}

/* What a Read of these sectors does. */
static inline u16 nvc_note_read(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	c->counters.reads++;
	c->counters.blocks_read += cmd->nlb;
	return nvc_read_data(c, at);
}

/* Counts the time for which something is not yet due. */
static inline void nvc_keep_busy(struct nvc *c, u64 target)
{
	if (target <= c->busy_until)
		return;
	c->counters.busy += target - nvc_max(c->busy_until, c->now);
	c->busy_until = target;
}

/* Whether there is an SSD inside. */
static inline bool nvc_has_ssd(const struct nvc_config *config)
{
	return config->kind == NVC_SSD || config->kind == NVC_ZNS || config->kind == NVC_KV;
}

/* The namespace of a command, or NULL for all and for none. */
static inline struct nvc_ns *nvc_ns_of(struct nvc *c, const struct nvc_cmd *cmd)
{
	/* whatever it is, 0 and all are beyond the table */
	return cmd->nsid - 1 < NVC_MAX_NS && c->ns[cmd->nsid - 1].blocks ?
	       &c->ns[cmd->nsid - 1] : NULL;
}

/* Whether the volatile write cache is enabled for the controller of a command. */
static inline bool nvc_cached(const struct nvc *c, const struct nvc_cmd *cmd)
{
	return cmd->ctrl < NVC_MAX_CTRLS && c->cache >> cmd->ctrl & 1;
}

/* Where blocks of a namespace are. */
static inline struct nvc_extent nvc_extent(const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	u32 shift = ns->block_shift - NVC_MIN_BLOCK_SHIFT;

	return (struct nvc_extent){
		(ns->start >> NVC_MIN_BLOCK_SHIFT) + (slba << shift), nlb << shift
	};
}

#endif
