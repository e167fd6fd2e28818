// SPDX-License-Identifier: GPL-2.0-or-later
/* What must hold for an SSD between two commands, checked the slow way. */
#include "batch.h"
#include "kv.h"
#include "zns.h"

#define MUST(condition) must(wrong, condition, #condition)

/* Keeps the first condition that does not hold. */
static void must(const char **wrong, bool holds, const char *condition)
{
	if (!holds && !*wrong)
		*wrong = condition;
}

static bool valid_at(const struct ssd *s, u32 place)
{
	u32 line = place / s->shape.per_line;
	u32 at = place % s->shape.per_line;

	return ssd_valid_map(s, line)[at / 64] >> (at % 64) & 1;
}

/* Every logical unit lies where the reverse map says so, and nowhere else. */
static void audit_map(const struct nvc *c, const char **wrong)
{
	const struct ssd *s = ssd_of(c);
	u64 mapped = 0;
	u32 unit;

	for (unit = 0; unit < ssd_all_units(&s->shape); unit++) {
		u32 place = s->a.l2p[unit];
		bool map = unit >= s->shape.units;
		u8 mask = map ? 0 : nvc_unit_mask(c, unit);

		if (place == SSD_NONE) {
			MUST(!mask || s->stats.read_only);
			continue;
		}
		mapped++;
		MUST(place < s->shape.lines * s->shape.per_line);
		if (*wrong)
			return;
		MUST(valid_at(s, place));
		MUST(s->a.p2l[place] == unit);
		MUST((s->a.lines[ssd_line_of(s, place)].stream == SSD_MAP) == map);
		MUST(map || mask || (unit >= s->sweep_from && unit < s->sweep_to));
	}
	MUST(mapped == s->stats.mapped_units);
}

static u32 audit_line(const struct nvc *c, u32 line, const char **wrong)
{
	const struct ssd *s = ssd_of(c);
	const struct ssd_line *l = &s->a.lines[line];
	u32 count = 0;
	u32 at;

	if (l->state == SSD_FREE || l->state == SSD_RETIRED)
		return 0;
	for (at = 0; at < s->shape.per_line; at++) {
		u32 place = line * s->shape.per_line + at;

		if (!valid_at(s, place))
			continue;
		count++;
		MUST(s->a.p2l[place] < ssd_all_units(&s->shape));
		if (*wrong)
			return 0;
		MUST(s->a.l2p[s->a.p2l[place]] == place);
	}
	MUST(count == l->valid);
	if (ssd_in_list(s, line))
		MUST(l->key == nvc_line_key(c, line));
	return count;
}

static void audit_lists(const struct ssd *s, const char **wrong)
{
	u32 listed = 0;
	u32 closed = 0;
	u32 key, i;

	for (key = 0; key <= s->shape.per_line; key++) {
		u32 first = s->a.heads[key];
		u32 line = first;

		MUST((first != SSD_NONE) == (s->a.filled[0][key / 64] >> (key % 64) & 1));
		if (first == SSD_NONE)
			continue;
		do {
			MUST(ssd_in_list(s, line));
			MUST(s->a.lines[s->a.lines[line].next].prev == line);
			listed++;
			line = s->a.lines[line].next;
		} while (line != first && listed <= s->shape.lines);
	}
	for (i = 0; i < s->shape.lines; i++)
		closed += ssd_in_list(s, i);
	MUST(listed == closed);
}

static void audit_accounts(const struct nvc *c, const char **wrong)
{
	struct nvc_ssd_stats t;

	nvc_stats(c, &t);
	MUST(t.free_lines + t.open_lines + t.closed_lines + t.retired_lines == t.lines);
	MUST(t.programmed_units + t.open_units + t.discarded_units ==
	     t.host_units + t.gc_units + t.pad_units + t.map_units);
	MUST(t.open_lines <= SSD_STREAMS);
	MUST(t.least_erases <= t.most_erases);
	MUST(t.usable_units <= t.lines * t.line_units);
}

/* What was written through handles is all that was; lines are of streams that there are. */
static void audit_handles(const struct nvc *c, const char **wrong)
{
	const struct ssd *s = ssd_of(c);
	u64 host = 0, gc = 0;
	struct nvc_ruh ruh;
	u32 i;

	for (i = 0; i < s->shape.handles; i++) {
		nvc_ruh(c, i, &ruh);
		host += ruh.host_units;
		gc += ruh.gc_units;
		MUST(ruh.room_units && ruh.room_units <= s->shape.per_line);
	}
	MUST(!s->shape.handles || host == s->stats.host_units);
	MUST(gc <= s->stats.gc_units);
	MUST(!s->shape.handles || !c->config.model.fdp_persistent ||
	     s->streams[SSD_GC].line == SSD_NONE);
	for (i = 0; i < s->shape.lines; i++)
		if (s->a.lines[i].state == SSD_OPEN || s->a.lines[i].state == SSD_CLOSED)
			MUST(nvc_stream_used(c, s->a.lines[i].stream));
}

/* Pages of the map are in memory once each; their lines are no more than were set aside. */
static void audit_mapping(const struct nvc *c, const char **wrong)
{
	const struct ssd *s = ssd_of(c);
	u32 lines = 0, cached = 0, found = 0;
	u32 i;

	for (i = 0; i < s->shape.lines; i++)
		lines += (s->a.lines[i].state == SSD_OPEN || s->a.lines[i].state == SSD_CLOSED) &&
			 s->a.lines[i].stream == SSD_MAP;
	MUST(lines == s->map_lines);
	MUST(!lines || lines < s->shape.map_lines || s->stats.bad_blocks);
	for (i = 0; i < s->shape.frames; i++) {
		if (s->a.frames[i].page == SSD_NONE)
			continue;
		cached++;
		MUST(s->a.frame_of[s->a.frames[i].page] == i);
	}
	for (i = 0; i < s->shape.map_pages; i++)
		found += s->a.frame_of[i] != SSD_NONE;
	MUST(found == cached);
}

/* What lies behind the write pointer reads as zeros, but for a random write area. */
static void audit_zone(const struct nvc *c, u32 z, const char **wrong)
{
	const struct zns *zns = zns_of(c);
	const struct zns_zone *zone = &zns->zones[z];
	bool zrwa = zone->attributes & NVC_ZONE_HAS_ZRWA;
	u32 end = zone->wp + (zrwa ? zns->shape.zrwa : 0);
	u32 size = 1U << zns->shape.shift;

	MUST(zone->wp <= zns->shape.capacity);
	MUST(zone->state != NVC_ZONE_EMPTY || (!zone->wp && !zone->attributes));
	MUST(!zone_active(zone) || zone->wp < zns->shape.capacity);
	MUST(zone->saved <= zone->wp && zone->save <= zone->wp);
	MUST(zone->words <= zns->shape.words);
	MUST(!zrwa || zone_active(zone));
	if (zone->state < NVC_ZONE_READ_ONLY && end < size)
		MUST(!nvc_map_all(&c->written, (struct nvc_extent){
			zone_sector(zns, z) + end, size - end }));
}

static void audit_zones(const struct nvc *c, const char **wrong)
{
	const struct zns *zns = zns_of(c);
	u32 active = 0, opened = 0, implicit = 0, zrwas = 0, listed = 0;
	u32 z;

	for (z = 0; z < zns->shape.zones; z++) {
		const struct zns_zone *zone = &zns->zones[z];

		active += zone_active(zone);
		opened += zone_open(zone);
		implicit += zone->state == NVC_ZONE_IMPLICIT;
		zrwas += !!(zone->attributes & NVC_ZONE_HAS_ZRWA);
		audit_zone(c, z, wrong);
	}
	MUST(active == zns->active && active <= zns->shape.max_active);
	MUST(opened == zns->opened && opened <= zns->shape.max_open);
	MUST(implicit == zns->implicit);
	MUST(zrwas == zns->zrwas && zrwas <= zns->shape.max_zrwas);
	for (z = zns->head; z != SSD_NONE && listed <= active; listed++) {
		MUST(zone_active(&zns->zones[z]));
		MUST(zns->zones[zns->zones[z].next].prev == z);
		z = zns->zones[z].next == zns->head ? SSD_NONE : zns->zones[z].next;
	}
	MUST(listed == active);
}

/* A value lies in as many units as it needs, all of them written. Returns how many. */
static u32 audit_value(const struct nvc *c, const struct kv_slot *value, const char **wrong)
{
	const struct kv *kv = kv_of(c);
	u32 unit = value->head;
	u32 units = 0;

	for (; unit != SSD_NONE && units <= kv->shape.units; unit = kv->next[unit]) {
		MUST(unit < kv->fresh);
		if (*wrong)
			return 0;
		MUST(nvc_unit_mask(c, unit) == 0xff);
		units++;
	}
	MUST(units == kv_units(value->size));
	return units;
}

/* Each unit that was ever used is free, a key's or the log's; and the index is in order. */
static void audit_keys(const struct nvc *c, const char **wrong)
{
	const struct kv *kv = kv_of(c);
	const struct kv_slot *last = NULL;
	u64 bytes = 0, live = 0, kept = 0, keys = 0, free = 0;
	u32 i;

	for (i = nvc_kv_following(kv, 0); i < kv->shape.slots; i = nvc_kv_following(kv, i + 1)) {
		const struct kv_slot *slot = &kv->slots[i];
		struct kv_key key = { { slot->word[0], slot->word[1] }, slot->length };

		MUST(nvc_kv_find(c, &key) == slot);
		MUST(i - nvc_kv_home(c, slot) <= KV_REACH);
		MUST(!last || nvc_kv_before(c, last, slot));
		live += audit_value(c, slot, wrong);
		bytes += slot->size;
		keys++;
		last = slot;
	}
	for (i = 0; i < kv->logged; i++)
		if (kv_logged(kv, i)->had)
			kept += audit_value(c, &kv_logged(kv, i)->old, wrong);
	for (i = kv->free_head; i != SSD_NONE && free <= kv->free; i = kv->next[i], free++)
		MUST(!nvc_unit_mask(c, i));
	MUST(keys == kv->keys && keys <= kv->shape.max_keys);
	MUST(live == kv->live && bytes == kv->bytes);
	MUST(free == kv->free && live + kept + free == kv->fresh);
	MUST(kv->logged <= kv->shape.log);
}

const char *batch_audit(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	const char *wrong = NULL;
	u64 valid = 0;
	u32 line;

	audit_map(c, &wrong);
	for (line = 0; !wrong && line < s->shape.lines; line++)
		valid += audit_line(c, line, &wrong);
	must(&wrong, wrong || valid == s->stats.mapped_units, "valid == mapped units");
	audit_lists(s, &wrong);
	audit_accounts(c, &wrong);
	audit_handles(c, &wrong);
	audit_mapping(c, &wrong);
	if (c->config.kind == NVC_ZNS)
		audit_zones(c, &wrong);
	if (c->config.kind == NVC_KV)
		audit_keys(c, &wrong);
	return wrong;
}

u32 batch_times(const struct nvc *c, u64 *times)
{
	const struct ssd *s = ssd_of(c);
	u32 channels = c->config.model.channels;
	u32 i;

	for (i = 0; times && i < s->shape.dies; i++)
		times[i] = s->a.dies[i].busy;
	for (i = 0; times && i < channels; i++)
		times[s->shape.dies + i] = s->a.channels[i].end;
	return s->shape.dies + channels;
}
