// SPDX-License-Identifier: GPL-2.0-or-later
/* What hosts are told of zones. */
#include "zns.h"

#define TYPE_SEQUENTIAL 2
#define NO_POINTER (~0ULL)

/* Blocks of a namespace in some sectors. */
static u64 blocks(const struct nvc_ns *ns, u64 sectors)
{
	return sectors >> (ns->block_shift - NVC_MIN_BLOCK_SHIFT);
}

bool nvc_zoned(const struct nvc *c, u32 nsid, struct nvc_zoned *zoned)
{
	const struct nvc_ns *ns = nvc_ns_get(c, nsid);
	const struct zns_shape *g;

	if (!ns || !(ns->flags & NVC_NS_ZONED))
		return false;
	g = &zns_of(c)->shape;
	*zoned = (struct nvc_zoned){
		.size = blocks(ns, 1ULL << g->shift),
		.capacity = blocks(ns, g->capacity),
		.zones = g->zones,
		.max_active = g->max_active < g->zones ? g->max_active : 0,
		.max_open = g->max_open < g->zones ? g->max_open : 0,
		.append = blocks(ns, g->append),
		.append_shift = g->append ? __builtin_ctz(g->append / SSD_UNIT_SECTORS) : 0,
		.extension = g->extension,
		.read_across = c->config.model.zone_read_across,
	};
	if (g->max_zrwas) {
		zoned->zrwa = blocks(ns, g->zrwa);
		zoned->zrwa_flush = blocks(ns, g->flush);
		zoned->zrwa_zones = g->max_zrwas;
	}
	return true;
}

void nvc_zone(const struct nvc *c, u32 index, struct nvc_zone *zone)
{
	const struct zns *zns = zns_of(c);
	const struct zns_zone *z = &zns->zones[index];
	const struct nvc_ns *ns = &c->ns[0];

	zone->start = blocks(ns, (u64)index << zns->shape.shift);
	zone->wp = zone->start + blocks(ns, z->wp);
	zone->state = z->state;
	zone->attributes = z->attributes;
}

static void put(u8 *to, u64 value)
{
	u32 i;

	for (i = 0; i < 8; i++)
		to[i] = value >> (8 * i);
}

static bool asked_for(u32 option, u32 state)
{
	static const u8 states[] = {
		[NVC_ZONES_EMPTY] = NVC_ZONE_EMPTY,
		[NVC_ZONES_IMPLICIT] = NVC_ZONE_IMPLICIT,
		[NVC_ZONES_EXPLICIT] = NVC_ZONE_EXPLICIT,
		[NVC_ZONES_CLOSED] = NVC_ZONE_CLOSED,
		[NVC_ZONES_FULL] = NVC_ZONE_FULL,
		[NVC_ZONES_READ_ONLY] = NVC_ZONE_READ_ONLY,
		[NVC_ZONES_OFFLINE] = NVC_ZONE_OFFLINE,
	};

	return option == NVC_ZONES_ALL || (option < ARRAY_SIZE(states) && states[option] == state);
}

static void describe(const struct nvc *c, u32 index, u8 *to)
{
	const struct zns *zns = zns_of(c);
	struct nvc_zone zone;

	nvc_zone(c, index, &zone);
	memset(to, 0, NVC_ZONE_DESCRIPTOR);
	to[0] = TYPE_SEQUENTIAL;
	to[1] = zone.state << 4;
	to[2] = zone.attributes;
	put(to + 8, blocks(&c->ns[0], zns->shape.capacity));
	put(to + 16, zone.start);
	put(to + 24, zone.state < NVC_ZONE_READ_ONLY ? zone.wp : NO_POINTER);
}

u32 nvc_zone_report(const struct nvc *c, const struct nvc_cmd *cmd, u8 *buffer, u32 bytes)
{
	const struct zns *zns = zns_of(c);
	u32 extension = cmd->action == NVC_ZONE_REPORT_EXTENDED ? zns->shape.extension : 0;
	u32 at = NVC_ZONE_DESCRIPTOR;
	u32 matching = 0, told = 0;
	u8 head[NVC_ZONE_DESCRIPTOR] = { 0 };
	u32 z = zone_index(zns, nvc_extent(&c->ns[0], cmd->slba, 1).first);

	for (; z < zns->shape.zones; z++) {
		if (!asked_for(cmd->option, zns->zones[z].state))
			continue;
		matching++;
		if (bytes < at || bytes - at < NVC_ZONE_DESCRIPTOR + extension)
			continue;
		describe(c, z, buffer + at);
		at += NVC_ZONE_DESCRIPTOR;
		memcpy(buffer + at, zns->extensions + (size_t)z * zns->shape.extension, extension);
		at += extension;
		told++;
	}
	put(head, cmd->flags & NVC_PARTIAL ? told : matching);
	bytes = nvc_min(bytes, at);
	memcpy(buffer, head, nvc_min(bytes, NVC_ZONE_DESCRIPTOR));
	return bytes;
}

void nvc_zone_extend(struct nvc *c, const struct nvc_cmd *cmd, const u8 *data)
{
	struct zns *zns = zns_of(c);
	u32 z = zone_index(zns, nvc_extent(&c->ns[0], cmd->slba, 1).first);

	memcpy(zns->extensions + (size_t)z * zns->shape.extension, data, zns->shape.extension);
}

u64 nvc_zone_changed(const struct nvc *c)
{
	return c->counters.zone_changes;
}

u32 nvc_zone_changes(struct nvc *c, u64 *starts, bool clear)
{
	struct zns *zns = zns_of(c);
	u32 n = zns->changes <= NVC_ZONE_CHANGES ? zns->changes : NVC_ZONE_CHANGES_MANY;
	u32 i;

	for (i = 0; n != NVC_ZONE_CHANGES_MANY && i < n; i++)
		starts[i] = blocks(&c->ns[0], (u64)zns->changed[i] << zns->shape.shift);
	for (i = 0; clear && i < zns->shape.zones; i++)
		zns->zones[i].changed = false;
	if (clear)
		zns->changes = 0;
	return n;
}
