// SPDX-License-Identifier: GPL-2.0-or-later
/* Kind ssd: what each command costs a conventional SSD, and does to it. */
#include "ssd.h"

/* Deallocated units looked at with each command. */
#define SWEEP 4096
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
	memset(s->a.l2p, 0xff, (size_t)g->units * sizeof(u32));
	memset(s->a.dies, 0, g->dies * sizeof(struct ssd_die));
	memset(s->a.channels, 0, c->config.model.channels * sizeof(struct ssd_timeline));
	memset(s->a.slots, 0, g->slots * sizeof(struct ssd_slot));
	memset(s->a.undo, 0, (size_t)g->undos * sizeof(struct ssd_undo));
	for (i = 0; i < SSD_STREAMS; i++)
		s->streams[i].line = SSD_NONE;
	nvc_line_reset(s);
	make_bad_blocks(c);
	nvc_nand_timing(c);
}

/* The controller forgets its transfers; the medium goes on with its work. */
static void ssd_reset(struct nvc *c)
{
	struct ssd *s = ssd_of(c);

	memset(&s->link_in, 0, sizeof(s->link_in));
	memset(&s->link_out, 0, sizeof(s->link_out));
}

static u64 link_time(const struct ssd *s, u64 bytes)
{
	return bytes * s->link_cost >> 24;
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
static u64 read_run(struct nvc *c, u32 unit, u32 n, u64 ready)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[unit];
	u32 line;

	if (place == SSD_NONE || ssd_swept(c, unit))
		return ready;
	line = ssd_line_of(s, place);
	if (!ssd_buffered(c, line, place))
		return nvc_nand_read(c, place - line * s->shape.per_line, n, ready, true);
	s->stats.buffer_hits += n;
	return ready;
}

static u64 send(struct nvc *c, u64 there, u64 bytes)
{
	struct ssd *s = ssd_of(c);

	return ssd_book(&s->link_out, c->now, there, link_time(s, bytes));
}

static u64 read_units(struct nvc *c, u32 unit, u32 last)
{
	u64 ready = c->now + c->config.model.fw_read_large;
	const struct ssd *s = ssd_of(c);
	u64 end = ready;

	while (unit <= last) {
		u32 n = s->a.l2p[unit] == SSD_NONE ? 1 : page_run(s, unit, last);
		u64 there = read_run(c, unit, n, ready);

		end = nvc_max(end, send(c, there, (u64)n << SSD_UNIT_SHIFT));
		unit += n;
	}
	return end;
}

static u64 ssd_read(struct nvc *c, const struct nvc_cmd *cmd)
{
	u32 shift = SSD_UNIT_SHIFT - c->config.block_shift;
	u32 unit = cmd->slba >> shift;
	u32 last = (cmd->slba + cmd->nlb - 1) >> shift;

	if (unit != last)
		return read_units(c, unit, last);
	return send(c, read_run(c, unit, 1, c->now + c->config.model.fw_read),
		    (u64)cmd->nlb << c->config.block_shift);
}

/* Where a write goes: what is overwritten while its line is young is hot. */
static u32 temperature(const struct nvc *c, u32 unit)
{
	const struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[unit];
	const struct ssd_line *line;

	if (!c->config.model.hot_cold || place == SSD_NONE)
		return SSD_COLD;
	line = &s->a.lines[ssd_line_of(s, place)];
	if (line->state == SSD_OPEN || s->closings - line->closed < s->shape.lines / 4)
		return SSD_HOT;
	return SSD_COLD;
}

/**
 * struct part - one unit of a write
 * @unit: logical
 * @first: first block, in the unit
 * @count: blocks
 * @whole: as in struct ssd_undo
 */
struct part {
	u32 unit;
	u8 first;
	u8 count;
	u8 whole;
};

/* A part of a unit is merged with the rest, which is read if it is not at hand. */
static u64 merge(struct nvc *c, const struct part *part, u64 at)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[part->unit];
	u32 line;

	if (part->count == 1 << (SSD_UNIT_SHIFT - c->config.block_shift) || place == SSD_NONE)
		return at;
	line = ssd_line_of(s, place);
	if (ssd_swept(c, part->unit) || ssd_buffered(c, line, place))
		return at;
	s->stats.merge_reads++;
	return nvc_nand_read(c, place - line * s->shape.per_line, 1, at, true);
}

/* Returns when the unit is in the buffer. */
static u64 write_unit(struct nvc *c, const struct part *part, u64 at, u32 *used)
{
	struct ssd *s = ssd_of(c);
	u32 id = temperature(c, part->unit);
	struct ssd_stream *stream = &s->streams[id];
	struct ssd_undo entry;
	u32 old;

	if (!stream->fill) {
		nvc_gc_room(c);
		at = nvc_buffer_take(s, id, nvc_stream_word(c, id), at);
	}
	at = merge(c, part, at);
	old = s->a.l2p[part->unit];
	memset(&entry, 0, sizeof(entry));
	if (s->shape.undos)
		entry.mask = nvc_unit_mask(c, part->unit);
	nvc_stream_append(c, id, part->unit, at);
	entry.seq = c->seq;
	entry.word = s->a.slots[stream->slot].word;
	entry.slot = stream->slot;
	entry.unit = part->unit;
	entry.place = s->a.l2p[part->unit];
	entry.old = old;
	entry.first = part->first;
	entry.count = part->count;
	entry.whole = part->whole;
	nvc_undo_log(s, &entry);
	s->stats.host_units++;
	*used |= 1 << id;
	return at;
}

/* Every unit of a write. Returns when the last is in the buffer. */
static u64 write_units(struct nvc *c, const struct nvc_cmd *cmd, u64 at, u32 *used)
{
	u32 blocks = 1 << (SSD_UNIT_SHIFT - c->config.block_shift);
	u64 slba = cmd->slba;
	u64 end = slba + cmd->nlb;
	bool whole = cmd->nlb <= c->config.model.awupf + 1;
	u64 buffered = at;
	u8 parts = 0;

	while (slba < end) {
		struct part part = { .unit = slba >> (SSD_UNIT_SHIFT - c->config.block_shift) };

		part.first = slba % blocks;
		part.count = nvc_min(blocks - part.first, end - slba);
		part.whole = whole ? ++parts : 0;
		buffered = nvc_max(buffered, write_unit(c, &part, at, used));
		slba += part.count;
	}
	return buffered;
}

static u64 ssd_write(struct nvc *c, const struct nvc_cmd *cmd)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u64 bytes = (u64)cmd->nlb << c->config.block_shift;
	u32 shift = SSD_UNIT_SHIFT - c->config.block_shift;
	u32 units = ((cmd->slba + cmd->nlb - 1) >> shift) - (cmd->slba >> shift) + 1;
	u32 used = 0;
	u64 at, end;

	s->latest = 0;
	at = ssd_book(&s->link_in, c->now, c->now + m->fw_write, link_time(s, bytes));
	end = write_units(c, cmd, at, &used) + (u64)units * m->fw_write_unit;
	if (m->plp || (c->config.vwc && !(cmd->flags & NVC_FUA)))
		return end;
	if (used & 1 << SSD_COLD)
		nvc_stream_pad(c, SSD_COLD);
	if (used & 1 << SSD_HOT)
		nvc_stream_pad(c, SSD_HOT);
	return nvc_max(end, s->latest);
}

static u64 ssd_flush(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u64 end = c->now + c->config.model.fw_write;

	if (c->config.model.plp || !c->config.vwc)
		return end;
	nvc_stream_pad(c, SSD_COLD);
	nvc_stream_pad(c, SSD_HOT);
	return nvc_max(end, s->durable);
}

static u64 ssd_deallocate(struct nvc *c, const struct nvc_cmd *cmd,
			  const struct nvc_range *ranges)
{
	u32 i;

	if (cmd->opcode == NVC_WRITE_ZEROES)
		nvc_sweep_add(c, cmd->slba, cmd->nlb);
	for (i = 0; cmd->opcode == NVC_DSM && cmd->flags & NVC_DEALLOCATE && i < cmd->nlb; i++)
		nvc_sweep_add(c, ranges[i].slba, ranges[i].nlb);
	return c->now + c->config.model.fw_write;
}

static u64 ssd_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	struct ssd *s = ssd_of(c);

	if (c->config.model.gc_background)
		nvc_gc_idle(c);
	s->time = c->now;
	s->last = c->now;
	if (s->sweep_from < s->sweep_to)
		nvc_sweep(c, SWEEP);
	switch (cmd->opcode) {
	case NVC_READ:
		return ssd_read(c, cmd);
	case NVC_WRITE:
		return ssd_write(c, cmd);
	case NVC_FLUSH:
		return ssd_flush(c);
	default:
		return ssd_deallocate(c, cmd, ranges);
	}
}

static u16 ssd_refuse(const struct nvc *c, const struct nvc_cmd *cmd)
{
	if (!ssd_of(c)->stats.read_only)
		return NVC_SC_SUCCESS;
	return cmd->opcode == NVC_WRITE || cmd->opcode == NVC_WRITE_ZEROES ? NVC_SC_READ_ONLY : 0;
}

const struct nvc_media nvc_ssd = {
	.size = ssd_size,
	.init = ssd_init,
	.attach = ssd_attach,
	.reset = ssd_reset,
	.retime = nvc_nand_timing,
	.refuse = ssd_refuse,
	.target = ssd_target,
	.cut = nvc_ssd_cut,
};
