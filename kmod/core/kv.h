/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a key value SSD, beside those of ssd.h, which hold its values.
 *
 * A value is a *chain* of logical units of the SSD, which lie anywhere. A Store
 * always takes new ones, so what it replaces is whole until the new value is on
 * the medium; the *log* keeps it till then. Collection is the SSD's.
 */
#ifndef NVC_CORE_KV_H
#define NVC_CORE_KV_H

#include "nvc_kv.h"
#include "ssd.h"

/* No key lies further from its home in the index. */
#define KV_REACH 1024
#define KV_SIZE_BITS 27
#define KV_LENGTH_BITS 5

/**
 * struct kv_shape - sizes, from the configuration
 * @units: that values can lie in
 * @capacity: of these, that they may take: the largest value fits beside them, so
 *	that what is there can always be replaced
 * @max_keys: that there may be
 * @max_value: bytes
 * @homes: slots of the index that keys are meant for
 * @slots: of the index
 * @log: entries of the log, 0 for none
 */
struct kv_shape {
	u32 units;
	u32 capacity;
	u32 max_keys;
	u32 max_value;
	u32 homes;
	u32 slots;
	u32 log;
};

/**
 * struct kv_key - a key
 * @word: its bytes, the first one lowest, zeros behind it
 * @length: bytes
 */
struct kv_key {
	u64 word[2];
	u32 length;
};

/**
 * struct kv_slot - a key and its value
 * @word: as in struct kv_key
 * @seq: number of the Store
 * @head: first unit of the chain; SSD_NONE if there is none
 * @size: bytes of the value
 * @length: bytes of the key
 */
struct kv_slot {
	u64 word[2];
	u64 seq;
	u32 head;
	u32 size : KV_SIZE_BITS;
	u32 length : KV_LENGTH_BITS;
};

/**
 * struct kv_undo - a Store that may not be on the medium yet
 * @seq: its number
 * @first: program that it begins in
 * @last: program that it ends in
 * @old: what it replaced; only the key counts if nothing
 * @had: 1 if it replaced something
 * @unused: 0
 */
struct kv_undo {
	u64 seq;
	u64 first;
	u64 last;
	struct kv_slot old;
	u32 had;
	u32 unused;
};

/**
 * struct kv - state of the kind, behind that of its SSD
 * @shape: sizes
 * @used: a bit for each slot of the index: whether there is a key
 * @slots: the index: keys in the order of their hashes, near where these point to
 * @next: of a unit, the next of its chain, or of the free ones
 * @log: a ring
 * @keys: that there are
 * @live: units of their values
 * @bytes: of their values
 * @fresh: units from here on were never used
 * @free_head: first of the units that were, and are free; or SSD_NONE
 * @free: how many
 * @log_at: oldest entry of the log
 * @logged: entries
 * @unused: 0
 */
struct kv {
	struct kv_shape shape;
	struct nvc_map used;
	struct kv_slot *slots;
	u32 *next;
	struct kv_undo *log;
	u64 bytes;
	u32 keys;
	u32 live;
	u32 fresh;
	u32 free_head;
	u32 free;
	u32 log_at;
	u32 logged;
	u32 unused;
};

static inline struct kv *kv_of(const struct nvc *c)
{
	return c->kv;
}

static inline u32 kv_units(u32 bytes)
{
	return (bytes + (1U << SSD_UNIT_SHIFT) - 1) >> SSD_UNIT_SHIFT;
}

static inline struct nvc_extent kv_extent(u32 unit, u32 units)
{
	return (struct nvc_extent){ (u64)unit * SSD_UNIT_SECTORS, (u64)units * SSD_UNIT_SECTORS };
}

static inline struct kv_undo *kv_logged(const struct kv *kv, u32 i)
{
	return &kv->log[(kv->log_at + i) % kv->shape.log];
}

/* kv_shape.c */
int nvc_kv_shape(const struct nvc_config *config, struct kv_shape *shape);

/* kv_index.c */
struct kv_key nvc_kv_key(const struct nvc_cmd *cmd);
u64 nvc_kv_home(const struct nvc *c, const struct kv_slot *slot);
bool nvc_kv_before(const struct nvc *c, const struct kv_slot *a, const struct kv_slot *b);
u32 nvc_kv_seek(const struct nvc *c, const struct kv_key *key, bool *found);
struct kv_slot *nvc_kv_find(const struct nvc *c, const struct kv_key *key);
bool nvc_kv_fits(const struct nvc *c, const struct kv_key *key);
struct kv_slot *nvc_kv_insert(struct nvc *c, const struct kv_key *key);
void nvc_kv_remove(struct nvc *c, struct kv_slot *slot);
u32 nvc_kv_following(const struct kv *kv, u32 at);

/* kv_log.c */
u32 nvc_kv_take(struct nvc *c, u32 units);
void nvc_kv_free(struct nvc *c, const struct kv_slot *value);
void nvc_kv_replaced(struct nvc *c, const struct kv_undo *entry);
void nvc_kv_retire(struct nvc *c);
void nvc_kv_room(struct nvc *c, u32 units);
void nvc_kv_account(struct kv *kv, const struct kv_slot *value, bool more);
u32 nvc_kv_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready);
void nvc_kv_wake(struct nvc *c);

/* kv_thaw.c */
bool nvc_kv_thaw(struct nvc *c);

#endif
