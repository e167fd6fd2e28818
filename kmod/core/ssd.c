// SPDX-License-Identifier: GPL-2.0-or-later
/* Kind ssd: what each command costs a conventional SSD, and does to it. */
#include "nand.h"
#include "snapshot.h"

#define MILLION 1000000

static size_t ssd_size(const struct nvc_config *config)
{
	struct ssd_shape shape;
	struct ssd_arrays a;

	nvc_shape(config, &shape);
	return sizeof(struct ssd) + nvc_ssd_layout(&shape, config->model.channels, NULL, &a);
}

static void ssd_attach(struct nvc *c)
{
	struct ssd *s = ssd_of(c);

	nvc_ssd_layout(&s->shape, c->config.model.channels, (u8 *)(s + 1), &s->a);
}

static void make_bad_blocks(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 line, lane;

	for (line = 0; c->config.model.bad_factory && line < s->shape.lines; line++)
		for (lane = 0; lane < s->shape.lanes; lane++)
			if (nvc_random(s, MILLION) < c->config.model.bad_factory)
				nvc_line_mark_bad(s, line, lane);
	for (line = 0; line < s->shape.lines; line++)
		nvc_line_free(s, line);
}

static void ssd_init(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	u32 i;

	memset(s, 0, sizeof(*s));
	nvc_shape(&c->config, &s->shape);
	ssd_attach(c);
	s->random = c->config.seed;
	s->free_head = SSD_NONE;
	s->gc.victim = SSD_NONE;
	s->gc.wear = SSD_NONE;
	s->gc.refresh = SSD_NONE;
	s->gc.due = SSD_NEVER;
	memset(s->a.l2p, 0xff, (size_t)ssd_all_units(g) * sizeof(u32));
	memset(s->a.frames, 0xff, (size_t)g->frames * sizeof(struct ssd_frame));
	memset(s->a.frame_of, 0xff, (size_t)g->map_pages * sizeof(u32));
	for (i = 0; i < g->dies; i++)
		s->a.dies[i] = (struct ssd_die){ .channel = i % c->config.model.channels };
	memset(s->a.channels, 0, c->config.model.channels * sizeof(struct ssd_timeline));
	memset(s->a.slots, 0, g->slots * sizeof(struct ssd_slot));
	memset(s->a.undo, 0, (size_t)g->undos * sizeof(struct ssd_undo));
	for (i = 0; i < SSD_STREAMS; i++)
		s->streams[i].line = SSD_NONE;
	nvc_line_reset(s);
	make_bad_blocks(c);
	c->read_only = s->stats.read_only;
	nvc_nand_timing(c);
}

/* The controller forgets its transfers; the medium goes on with its work. */
void nvc_ssd_reset(struct nvc *c)
{
	struct ssd *s = ssd_of(c);

	memset(&s->link_in, 0, sizeof(s->link_in));
	memset(&s->link_out, 0, sizeof(s->link_out));
}

/* Units from @unit to @last that lie behind one another on one page. */
static u32 page_run(const struct ssd *s, u32 unit, u32 last)
{
	u32 place = s->a.l2p[unit];
	u32 most = s->shape.per_page - place % s->shape.per_line % s->shape.per_page;
	u32 n = 1;

	while (n < most && unit + n <= last && s->a.l2p[unit + n] == place + n)
		n++;
	return n;
}

/* Returns when the units have left the medium. */
static __always_inline u64 read_run(struct nvc *c, u32 unit, u32 n, u64 ready)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[unit];
	u32 line;

	if (place == SSD_NONE || ssd_swept(c, unit))
		return ready;
	line = ssd_line_of(s, place);
	if (!ssd_buffered(c, line, place)) {
		ssd_disturb(c, line);
		return nand_read(c, place % s->shape.per_line, n, ready, true);
	}
	s->stats.buffer_hits += n;
	return ready;
}

/* Units that lie behind one another on one page. Returns when they have left the medium. */
u64 nvc_ssd_read_run(struct nvc *c, u32 unit, u32 n, u64 ready)
{
	return read_run(c, unit, n, ready);
}

/* Nothing goes to the host without a link. */
static inline u64 send(struct nvc *c, struct ssd_timeline *link, u64 there, u64 bytes)
{
	return link ? ssd_book(link, c->now, there, ssd_link_time(ssd_of(c), bytes)) : there;
}

/* Its own function, and not static, so that reads of one unit are spared what it costs. */
u64 nvc_ssd_read_units(struct nvc *c, u32 unit, u32 last, struct ssd_timeline *link)
{
	u64 ready = c->now + c->config.model.fw_read_large;
	const struct ssd *s = ssd_of(c);
	u64 end;

	if (s->shape.map_pages)
		ready = nvc_mapping_read(c, unit, last, ready);
	end = ready;
	while (unit <= last) {
		u32 n = s->a.l2p[unit] == SSD_NONE ? 1 : page_run(s, unit, last);
		u64 there = read_run(c, unit, n, ready);

		end = nvc_max(end, send(c, link, there, (u64)n << SSD_UNIT_SHIFT));
		unit += n;
	}
	return end;
}

static __always_inline u64 read_sectors(struct nvc *c, struct nvc_extent at,
					struct ssd_timeline *link)
{
	u32 unit = at.first / SSD_UNIT_SECTORS;
	u32 last = (at.first + at.count - 1) / SSD_UNIT_SECTORS;
	u64 ready = c->now + c->config.model.fw_read;

	if (unit != last)
		return nvc_ssd_read_units(c, unit, last, link);
	if (ssd_of(c)->shape.map_pages)
		ready = nvc_mapping_read(c, unit, last, ready);
	return send(c, link, read_run(c, unit, 1, ready), at.count << NVC_MIN_BLOCK_SHIFT);
}

/**
 * nvc_ssd_read() - read sectors
 * @c: the device
 * @at: which
 * @link: to the host, or NULL if they stay inside
 *
 * Return: ns, when they are where they should go.
 */
u64 nvc_ssd_read(struct nvc *c, struct nvc_extent at, struct ssd_timeline *link)
{
	return read_sectors(c, at, link);
}

static void ssd_read(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_decision *decision)
{
	struct nvc_extent at = nvc_extent(&c->ns[cmd->nsid - 1], cmd->slba, cmd->nlb);

	/* first, as it does not depend on the rest: so little has to be kept meanwhile */
	decision->data = nvc_note_read(c, cmd, at);
	ssd_begin(c);
	decision->target = read_sectors(c, at, &ssd_of(c)->link_out);
	nvc_keep_busy(c, decision->target);
}

static u64 ssd_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		      const struct nvc_range *ranges)
{
	ssd_begin(c);
	if (cmd->opcode == NVC_READ && !(cmd->flags & NVC_FUA))
		return read_sectors(c, nvc_extent(ns, cmd->slba, cmd->nlb), &ssd_of(c)->link_out);
	ssd_of(c)->began = ssd_of(c)->closings;
	return nvc_ssd_change(c, cmd, ns, ranges);
}

static struct nvc_part array(void *at, size_t bytes)
{
	return (struct nvc_part){ at, (bytes + 7) & ~(size_t)7 };
}

/* All but what the configuration says, and what thaw.c makes anew. */
static u32 ssd_parts(const struct nvc *c, struct nvc_part *parts)
{
	const struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	const struct ssd_arrays *a = &s->a;
	u32 n = 0;

	parts[n++] = nvc_part(&s->link_in, s + 1);
	parts[n++] = array(a->l2p, (size_t)ssd_all_units(g) * sizeof(*a->l2p));
	parts[n++] = array(a->bad, (size_t)g->lines * g->lane_words * sizeof(*a->bad));
	parts[n++] = array(a->lines, (size_t)g->lines * sizeof(*a->lines));
	parts[n++] = array(a->heads, ((size_t)g->per_line + 1) * sizeof(*a->heads));
	parts[n++] = array(a->dies, g->dies * sizeof(*a->dies));
	parts[n++] = array(a->channels, c->config.model.channels * sizeof(*a->channels));
	parts[n++] = array(a->slots, g->slots * sizeof(*a->slots));
	parts[n++] = array(a->undo, (size_t)g->undos * sizeof(*a->undo));
	parts[n++] = array(a->frames, (size_t)g->frames * sizeof(*a->frames));
	return n;
}

const struct nvc_media nvc_ssd = {
	.size = ssd_size,
	.init = ssd_init,
	.attach = ssd_attach,
	.reset = nvc_ssd_reset,
	.retime = nvc_nand_timing,
	.target = ssd_target,
	.read = ssd_read,
	.forget = nvc_sweep_add,
	.settle = nvc_ssd_settle,
	.cut = nvc_ssd_cut,
	.wake = nvc_ssd_wake,
	.parts = ssd_parts,
	.thaw = nvc_ssd_thaw,
};
