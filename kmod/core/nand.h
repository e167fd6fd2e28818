/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a page costs to read: inline, as no command is more frequent than a Read. */
#ifndef NVC_CORE_NAND_H
#define NVC_CORE_NAND_H

#include "ssd.h"

/* The host's reads go first where the drive can suspend; the work they interrupt ends later. */
static inline u64 nand_sense(struct nvc *c, struct ssd_die *die, u32 time, u64 ready, bool host)
{
	const struct nvc_model *m = &c->config.model;

	if (host && m->suspend && die->busy > nvc_max(ready, die->reads)) {
		die->reads = nvc_max(ready + m->suspend_time, die->reads) + time;
		die->busy += (u64)time + m->suspend_time;
		return die->reads;
	}
	die->busy = nvc_max(die->busy, ready) + time;
	if (host)
		die->reads = die->busy;
	return die->busy;
}

static inline u64 nand_transfer(struct ssd *s, u32 channel, u32 units, u64 ready)
{
	u64 duration = ((u64)units << SSD_UNIT_SHIFT) * s->channel_cost >> SSD_COST_SHIFT;

	return ssd_book(&s->a.channels[channel], s->time, ready, duration);
}

static __always_inline u64 nand_read_page(struct nvc *c, struct ssd_die *die, u32 page,
					  u32 units, u64 ready, bool host)
{
	struct ssd *s = ssd_of(c);
	u64 end;

	s->stats.senses++;
	end = nand_sense(c, die, s->sense[page % c->config.model.cell_bits], ready, host);
	return nand_transfer(s, die->channel, units, end);
}

/**
 * nand_read() - read a page
 * @c: the device
 * @at: place in the line of the first unit wanted
 * @units: units of the same page that are wanted
 * @ready: ns, when it may begin
 * @host: the host waits for it
 *
 * Return: ns, when the units have come over the channel.
 */
static __always_inline u64 nand_read(struct nvc *c, u32 at, u32 units, u64 ready, bool host)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	u32 word = at / g->per_program;
	u32 page = word / g->lanes * m->program_pages + at % g->per_program / g->per_page;

	return nand_read_page(c, &s->a.dies[word % g->lanes % g->dies], page, units, ready, host);
}

#endif
