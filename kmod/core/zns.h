/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a zoned SSD, beside those of ssd.h, which it has too: they hold
 * what has no zones, and the dies, channels, link and buffer serve both.
 *
 * A zone is written word by word across its dies, in the order of its blocks,
 * so that it needs no map. Inside a zone the core counts in sectors.
 */
#ifndef NVC_CORE_ZNS_H
#define NVC_CORE_ZNS_H

#include "nvc_zns.h"
#include "ssd.h"

/**
 * struct zns_shape - sizes, from the configuration
 * @start: first sector of the zoned namespace
 * @zones: how many
 * @shift: log2 of sectors from a zone to the next
 * @capacity: sectors of a zone that can be written
 * @dies: of a zone
 * @groups: of dies; zones are dealt to them in turn
 * @lanes: of these dies
 * @word: sectors of a program
 * @words: programs of a zone
 * @rows: programs of a block
 * @units: physical ones of a zone
 * @base: physical unit that zones begin with
 * @max_active: open or closed at a time
 * @max_open: open at a time
 * @append: sectors of the largest Zone Append
 * @extension: bytes for each zone
 * @max_zrwas: zones that may have a random write area
 * @zrwa: sectors of a random write area
 * @flush: sectors, grain of its commits
 * @queue: programs of a zone that the buffer holds at a time
 */
struct zns_shape {
	u64 start;
	u32 zones;
	u32 shift;
	u32 capacity;
	u32 dies;
	u32 groups;
	u32 lanes;
	u32 word;
	u32 words;
	u32 rows;
	u32 units;
	u32 base;
	u32 max_active;
	u32 max_open;
	u32 append;
	u32 extension;
	u32 max_zrwas;
	u32 zrwa;
	u32 flush;
	u32 queue;
};

/**
 * struct zns_zone - a zone
 * @erased: ns, its blocks can be programmed
 * @programmed: ns, its latest program is done
 * @saving: ns, what is in front of @save is on the medium
 * @ready: ns, the latest of its data is in the buffer
 * @wp: write pointer, sectors; of a full zone, how far it holds data
 * @saved: what is in front of it survives a power cut, though its word is not full
 * @save: what @saved will be
 * @words: that were programmed since it was erased
 * @erases: so far
 * @next: neighbour in the list of active zones, which has the latest used last
 * @prev: neighbour
 * @state: enum nvc_zone_state
 * @attributes: enum nvc_zone_attribute
 * @changed: it is in the list of changes
 * @failed: a program failed
 */
struct zns_zone {
	u64 erased;
	u64 programmed;
	u64 saving;
	u64 ready;
	u32 wp;
	u32 saved;
	u32 save;
	u32 words;
	u32 erases;
	u32 next;
	u32 prev;
	u8 state;
	u8 attributes;
	u8 changed;
	u8 failed;
};

/**
 * struct zns - state of the kind, behind that of its SSD
 * @shape: sizes
 * @zones: all of them
 * @extensions: of their descriptors
 * @head: of the active zones the one used least lately, or SSD_NONE
 * @active: how many are open or closed
 * @opened: how many are open
 * @implicit: how many of these by a write
 * @zrwas: how many have a random write area
 * @changes: zones that the controller changed
 * @changed: of these, the first, in order of change
 */
struct zns {
	struct zns_shape shape;
	struct zns_zone *zones;
	u8 *extensions;
	u32 head;
	u32 active;
	u32 opened;
	u32 implicit;
	u32 zrwas;
	u32 changes;
	u32 changed[NVC_ZONE_CHANGES];
};

static inline struct zns *zns_of(const struct nvc *c)
{
	return c->zns;
}

static inline bool zone_open(const struct zns_zone *zone)
{
	return zone->state == NVC_ZONE_IMPLICIT || zone->state == NVC_ZONE_EXPLICIT;
}

static inline bool zone_active(const struct zns_zone *zone)
{
	return zone_open(zone) || zone->state == NVC_ZONE_CLOSED;
}

/* Sectors of its last word that are not programmed yet. */
static inline u32 zone_fill(const struct zns *zns, const struct zns_zone *zone)
{
	return zone_active(zone) && zone->wp < zns->shape.capacity ? zone->wp % zns->shape.word : 0;
}

/* Units of which there is a part in @sectors. */
static inline u32 zone_units(u32 sectors)
{
	return (sectors + SSD_UNIT_SECTORS - 1) / SSD_UNIT_SECTORS;
}

/* The zone that a sector of the zoned namespace is in, and where in it. */
static inline u32 zone_index(const struct zns *zns, u64 sector)
{
	return (sector - zns->shape.start) >> zns->shape.shift;
}

static inline u32 zone_offset(const struct zns *zns, u64 sector)
{
	return (sector - zns->shape.start) & ((1U << zns->shape.shift) - 1);
}

static inline u64 zone_sector(const struct zns *zns, u32 z)
{
	return zns->shape.start + ((u64)z << zns->shape.shift);
}

/* zns_shape.c */
u64 nvc_zns_conventional(const struct nvc_config *config);
int nvc_zns_shape(const struct nvc_config *config, struct zns_shape *shape);

/* zone.c */
void nvc_zone_set(struct zns *zns, u32 z, u32 state);
void nvc_zone_use(struct zns *zns, u32 z);
void nvc_zone_write_opens(struct zns *zns, u32 z);
u64 nvc_zone_send(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns);
u64 nvc_zone_reset(struct nvc *c, u32 z);
u64 nvc_zone_finish(struct nvc *c, u32 z);
void nvc_zone_fails(struct nvc *c, u32 z, u32 state);

/* zone_write.c */
u64 nvc_zone_write(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent to, u64 at);
u64 nvc_zone_commit(struct nvc *c, u32 z, u32 to, u64 at);
u64 nvc_zone_pad(struct nvc *c, u32 z);
void nvc_zone_save_all(struct nvc *c);
u64 nvc_zone_keep(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at);
u32 nvc_zone_die(const struct zns *zns, u32 z, u32 word);
u32 nvc_zone_page(const struct nvc *c, u32 word);

/* zone_read.c */
u64 nvc_zone_read(struct nvc *c, struct nvc_extent at, struct ssd_timeline *link);

/* zone_power.c */
u32 nvc_zone_kept(const struct nvc *c, u32 z);
u32 nvc_zns_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready);
void nvc_zns_wake(struct nvc *c);

/* zone_thaw.c */
u64 nvc_zns_open_units(const struct nvc *c);
bool nvc_zns_thaw(struct nvc *c);

#endif
