// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Zones: their states, what is limited of them, and the actions of Zone
 * Management Send. Whether an action may be done zone_check.c has said.
 */
#include "zns.h"

#define MILLION 1000000

static void unlink_zone(struct zns *zns, u32 z)
{
	struct zns_zone *zones = zns->zones;
	u32 next = zones[z].next;

	zones[zones[z].prev].next = next;
	zones[next].prev = zones[z].prev;
	if (zns->head == z)
		zns->head = next == z ? SSD_NONE : next;
}

/* As the one used last. */
static void link_zone(struct zns *zns, u32 z)
{
	struct zns_zone *zones = zns->zones;
	u32 first = zns->head == SSD_NONE ? z : zns->head;
	u32 last = zns->head == SSD_NONE ? z : zones[first].prev;

	zones[z].next = first;
	zones[z].prev = last;
	zones[last].next = z;
	zones[first].prev = z;
	zns->head = first;
}

static void count(struct zns *zns, const struct zns_zone *zone, u32 n)
{
	zns->active += zone_active(zone) ? n : 0;
	zns->opened += zone_open(zone) ? n : 0;
	zns->implicit += zone->state == NVC_ZONE_IMPLICIT ? n : 0;
}

/* A zone goes to another state. One that is not active has no random write area. */
void nvc_zone_set(struct zns *zns, u32 z, u32 state)
{
	struct zns_zone *zone = &zns->zones[z];
	bool active = zone_active(zone);

	count(zns, zone, -1);
	zone->state = state;
	count(zns, zone, 1);
	if (!active && zone_active(zone))
		link_zone(zns, z);
	if (!active || zone_active(zone))
		return;
	unlink_zone(zns, z);
	zns->zrwas -= !!(zone->attributes & NVC_ZONE_HAS_ZRWA);
	zone->attributes &= ~NVC_ZONE_HAS_ZRWA;
}

/* An active zone is used. */
void nvc_zone_use(struct zns *zns, u32 z)
{
	unlink_zone(zns, z);
	link_zone(zns, z);
}

/* Closes zones that a write opened, used least lately, until no more are open than may be. */
static void close_some(struct zns *zns, u32 most)
{
	u32 z = zns->head;

	while (zns->opened > most) {
		u32 next = zns->zones[z].next;

		if (zns->zones[z].state == NVC_ZONE_IMPLICIT)
			nvc_zone_set(zns, z, NVC_ZONE_CLOSED);
		z = next;
	}
}

/* Something is to be written to a zone that is not full. */
void nvc_zone_write_opens(struct zns *zns, u32 z)
{
	if (!zone_open(&zns->zones[z])) {
		close_some(zns, zns->shape.max_open - 1);
		nvc_zone_set(zns, z, NVC_ZONE_IMPLICIT);
	}
	nvc_zone_use(zns, z);
}

static void open_zone(struct zns *zns, u32 z, bool zrwa)
{
	struct zns_zone *zone = &zns->zones[z];

	if (!zone_open(zone))
		close_some(zns, zns->shape.max_open - 1);
	nvc_zone_set(zns, z, NVC_ZONE_EXPLICIT);
	if (!zrwa || zone->attributes & NVC_ZONE_HAS_ZRWA)
		return;
	zone->attributes |= NVC_ZONE_HAS_ZRWA;
	zns->zrwas++;
	/* a zone with one goes back to nowhere when the power goes: its grains must fit */
	zone->saved = zone->wp;
	zone->save = zone->wp;
}

/* All that are closed now; those opened by writes make room, which are not opened then. */
static void open_all(struct zns *zns)
{
	u32 z;

	for (z = 0; z < zns->shape.zones; z++)
		if (zns->zones[z].state == NVC_ZONE_CLOSED)
			nvc_zone_set(zns, z, NVC_ZONE_EXPLICIT);
	close_some(zns, zns->shape.max_open);
}

/* The controller has changed a zone for good: read-only or offline. */
void nvc_zone_fails(struct nvc *c, u32 z, u32 state)
{
	struct zns *zns = zns_of(c);

	nvc_zone_set(zns, z, state);
	c->counters.zone_changes++;
	if (zns->zones[z].changed)
		return;
	zns->zones[z].changed = true;
	if (zns->changes < NVC_ZONE_CHANGES)
		zns->changed[zns->changes] = z;
	zns->changes++;
}

static bool erase_fails(struct nvc *c, u32 blocks, u32 erases)
{
	const struct nvc_model *m = &c->config.model;
	u64 chance = m->erase_fail;
	bool fails = false;

	if (m->endurance && erases > m->endurance)
		chance = chance * 100;
	for (; chance && blocks; blocks--)
		fails |= nvc_random(ssd_of(c), MILLION) < chance;
	return fails;
}

/* Erases the blocks that hold something. Returns when they can be written. */
static u64 erase(struct nvc *c, u32 z)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	struct zns_zone *zone = &zns_of(c)->zones[z];
	struct ssd *s = ssd_of(c);
	u32 lanes = nvc_min(zone->words, g->lanes);
	u64 end = c->now;
	u32 blocks = 0;
	u32 lane;

	for (lane = 0; lane < lanes; lane++) {
		u32 rows = (zone->words - lane + g->lanes - 1) / g->lanes;
		u32 here = (rows + g->rows - 1) / g->rows;
		u32 die = nvc_zone_die(zns_of(c), z, lane);
		u64 time = (u64)here * c->config.model.erase;

		end = nvc_max(end, nvc_die_later(c, die, c->now, time));
		blocks += here;
	}
	zone->erased = end;
	zone->words = 0;
	if (!blocks)
		return end;
	s->stats.erases++;
	s->stats.zone_erases++;
	zone->erases++;
	if (erase_fails(c, blocks, zone->erases))
		nvc_zone_fails(c, z, NVC_ZONE_OFFLINE);
	return end;
}

/**
 * nvc_zone_reset() - empty a zone
 * @c: the device
 * @z: a zone that is neither read-only nor offline
 *
 * Programs under way need not be forgotten: the erase comes after them, and
 * what is written to the zone after the erase.
 *
 * Return: ns, when its blocks are erased, in the spare time of their dies.
 */
u64 nvc_zone_reset(struct nvc *c, u32 z)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];
	struct nvc_extent all = { zone_sector(zns, z), 1ULL << zns->shape.shift };

	ssd_of(c)->stats.discarded_units += zone_units(zone_fill(zns, zone));
	nvc_zone_set(zns, z, NVC_ZONE_EMPTY);
	nvc_map_clear(&c->written, all);
	nvc_map_clear(&c->bad, all);
	zone->attributes = 0;
	zone->failed = false;
	zone->wp = 0;
	zone->saved = 0;
	zone->save = 0;
	zone->programmed = 0;
	return erase(c, z);
}

/**
 * nvc_zone_finish() - make a zone full
 * @c: the device
 * @z: a zone that is neither read-only nor offline
 *
 * Return: ns, when what it holds is on the medium, and the rest programmed if
 * the drive does that.
 */
u64 nvc_zone_finish(struct nvc *c, u32 z)
{
	struct zns_zone *zone = &zns_of(c)->zones[z];
	const struct zns_shape *g = &zns_of(c)->shape;
	u64 end = c->now;

	if (zone->attributes & NVC_ZONE_HAS_ZRWA)
		end = nvc_zone_commit(c, z, nvc_min(zone->wp + g->zrwa, g->capacity), end);
	if (zone->state == NVC_ZONE_FULL || zone->state == NVC_ZONE_READ_ONLY)
		return nvc_max(end, zone->programmed);
	end = nvc_zone_pad(c, z);
	nvc_zone_set(zns_of(c), z, NVC_ZONE_FULL);
	if (zone->failed)
		nvc_zone_fails(c, z, NVC_ZONE_READ_ONLY);
	return end;
}

/* Whether an action on all zones is for those in a state. */
static bool selected(u32 action, u32 state)
{
	switch (action) {
	case NVC_ZONE_CLOSE:
		return state == NVC_ZONE_IMPLICIT || state == NVC_ZONE_EXPLICIT;
	case NVC_ZONE_FINISH:
		return state >= NVC_ZONE_IMPLICIT && state <= NVC_ZONE_CLOSED;
	case NVC_ZONE_RESET:
		return state != NVC_ZONE_EMPTY && state != NVC_ZONE_READ_ONLY &&
		       state != NVC_ZONE_OFFLINE;
	default: /* Offline */
		return state == NVC_ZONE_READ_ONLY;
	}
}

/* Returns when it is done. */
static u64 act(struct nvc *c, const struct nvc_cmd *cmd, u32 z)
{
	struct zns *zns = zns_of(c);

	switch (cmd->action) {
	case NVC_ZONE_CLOSE:
		nvc_zone_set(zns, z, NVC_ZONE_CLOSED);
		return c->now;
	case NVC_ZONE_FINISH:
		return nvc_zone_finish(c, z);
	case NVC_ZONE_OPEN:
		open_zone(zns, z, cmd->flags & NVC_ZRWA);
		return c->now;
	case NVC_ZONE_RESET:
		return nvc_zone_reset(c, z);
	case NVC_ZONE_TAKE_OFFLINE:
		nvc_zone_set(zns, z, NVC_ZONE_OFFLINE);
		return c->now;
	default: /* Set Zone Descriptor Extension */
		nvc_zone_set(zns, z, NVC_ZONE_CLOSED);
		zns->zones[z].attributes |= NVC_ZONE_EXTENDED;
		return c->now;
	}
}

static u64 act_on_all(struct nvc *c, const struct nvc_cmd *cmd)
{
	struct zns *zns = zns_of(c);
	u64 end = c->now;
	u32 z;

	if (cmd->action == NVC_ZONE_OPEN) {
		open_all(zns);
		return end;
	}
	for (z = 0; z < zns->shape.zones; z++)
		if (selected(cmd->action, zns->zones[z].state))
			end = nvc_max(end, act(c, cmd, z));
	return end;
}

/**
 * nvc_zone_send() - carry out Zone Management Send
 * @c: the device
 * @cmd: the command
 * @ns: the zoned namespace
 *
 * Return: ns, when it is due.
 */
u64 nvc_zone_send(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns)
{
	u64 sector = nvc_extent(ns, cmd->slba, 1).first;
	struct zns *zns = zns_of(c);
	u64 least = c->now + c->config.model.fw_write;
	u32 z;

	if (cmd->flags & NVC_ALL_ZONES)
		return nvc_max(least, act_on_all(c, cmd));
	z = zone_index(zns, sector);
	if (cmd->action != NVC_ZONE_FLUSH_ZRWA)
		return nvc_max(least, act(c, cmd, z));
	nvc_zone_write_opens(zns, z);
	sector += nvc_extent(ns, 0, 1).count;
	return nvc_zone_commit(c, z, zone_offset(zns, sector - 1) + 1, least);
}
