// SPDX-License-Identifier: GPL-2.0-or-later
/* What a device with a model can be asked and told from outside. */
#include "kv.h"
#include "zns.h"

static void count_lines(const struct ssd *s, struct nvc_ssd_stats *stats)
{
	u64 least = SSD_NEVER;
	u32 i;

	for (i = 0; i < s->shape.lines; i++) {
		const struct ssd_line *line = &s->a.lines[i];

		stats->open_lines += line->state == SSD_OPEN;
		stats->closed_lines += line->state == SSD_CLOSED;
		if (line->state != SSD_RETIRED)
			least = nvc_min(least, line->erases);
	}
	stats->least_erases = least == SSD_NEVER ? 0 : least;
}

/* Pages of the map are units too, but no logical ones. */
static u32 mapped_units(const struct ssd *s)
{
	u32 unit = ssd_all_units(&s->shape);
	u32 pages = 0;

	while (unit-- > s->shape.units)
		pages += s->a.l2p[unit] != SSD_NONE;
	return s->stats.mapped_units - pages;
}

static void count_zones(const struct zns *zns, struct nvc_ssd_stats *stats)
{
	u32 z = zns->head;

	stats->zones = zns->shape.zones;
	stats->active_zones = zns->active;
	stats->open_zones = zns->opened;
	if (z == SSD_NONE)
		return;
	do {
		stats->open_units += zone_units(zone_fill(zns, &zns->zones[z]));
		z = zns->zones[z].next;
	} while (z != zns->head);
}

static void count_keys(const struct kv *kv, struct nvc_ssd_stats *stats)
{
	stats->keys = kv->keys;
	stats->value_units = kv->live;
	stats->value_bytes = kv->bytes;
}

void nvc_stats(const struct nvc *c, struct nvc_ssd_stats *stats)
{
	const struct ssd *s = ssd_of(c);
	u32 i;

	memset(stats, 0, sizeof(*stats));
	if (!nvc_has_ssd(&c->config))
		return;
	*stats = s->stats;
	stats->programmed_units = stats->programs * s->shape.per_program;
	for (i = 0; i < SSD_STREAMS; i++)
		stats->open_units += s->streams[i].fill;
	stats->mapped_units = mapped_units(s);
	stats->units = s->shape.units;
	stats->lines = s->shape.lines;
	stats->free_lines = s->free_lines;
	stats->line_units = s->shape.per_line;
	count_lines(s, stats);
	if (c->config.kind == NVC_ZNS)
		count_zones(zns_of(c), stats);
	if (c->config.kind == NVC_KV)
		count_keys(kv_of(c), stats);
}

/* Percent, of a drive without a bad block, of what it can do without. */
static u32 spare(const struct ssd *s)
{
	u64 least = nvc_line_least(s);
	u64 all = (u64)s->shape.lines * s->shape.per_line;

	if (all <= least)
		return s->stats.read_only ? 0 : 100;
	return nvc_div((s->stats.usable_units - nvc_min(least, s->stats.usable_units)) * 100,
		       all - least);
}

/* Erases of the line or zone that has seen most. */
static u32 most_erases(const struct nvc *c)
{
	u32 most = ssd_of(c)->stats.most_erases;
	u32 z;

	for (z = 0; c->config.kind == NVC_ZNS && z < zns_of(c)->shape.zones; z++)
		most = nvc_max(most, zns_of(c)->zones[z].erases);
	return most;
}

void nvc_health(const struct nvc *c, struct nvc_health *health)
{
	u32 endurance = c->config.model.endurance;

	*health = (struct nvc_health){ .spare = 100 };
	if (!nvc_has_ssd(&c->config))
		return;
	health->read_only = ssd_of(c)->stats.read_only;
	health->spare = spare(ssd_of(c));
	if (endurance)
		health->used = nvc_min(nvc_div((u64)most_erases(c) * 100, endurance), ~0U);
}

u32 nvc_place(const struct nvc *c, u32 unit)
{
	return ssd_of(c)->a.l2p[unit];
}

int nvc_set_model(struct nvc *c, u64 now, const struct nvc_model *model)
{
	int err = nvc_model_check_live(&c->config.model, model);

	if (err)
		return err;
	nvc_arrive(c, now);
	c->config.model = *model;
	if (c->media->retime)
		c->media->retime(c);
	return 0;
}

u32 nvc_undo_units(const struct nvc *c)
{
	return nvc_has_ssd(&c->config) ? ssd_of(c)->shape.undos : 0;
}

u32 nvc_cut(struct nvc *c, u64 now, struct nvc_lost *lost, u64 *ready)
{
	nvc_arrive(c, now);
	*ready = c->now;
	if (c->media->cut)
		return c->media->cut(c, lost, ready);
	c->media->reset(c);
	return 0;
}

void nvc_wake(struct nvc *c, u64 now)
{
	nvc_arrive(c, c->now);
	if (c->media->settle)
		c->media->settle(c);
	c->now = now;
	c->busy_until = now;
	if (c->media->wake)
		c->media->wake(c);
	else
		c->media->reset(c);
}
