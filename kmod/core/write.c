// SPDX-License-Identifier: GPL-2.0-or-later
/* All commands but plain Reads on an SSD. */
#include "ssd.h"

/* Deallocated units looked at with each command. */
#define SWEEP 4096

/* Where a write goes: what is overwritten while its line is young is hot. */
static u32 temperature(const struct nvc *c, u32 unit)
{
	const struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[unit];
	const struct ssd_line *line;

	if (s->shape.handles)
		return s->placement.stream;
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
 * @first: first sector, in the unit
 * @count: sectors
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

	if (part->count == SSD_UNIT_SECTORS || place == SSD_NONE)
		return at;
	line = ssd_line_of(s, place);
	if (ssd_swept(c, part->unit) || ssd_buffered(c, line, place))
		return at;
	s->stats.merge_reads++;
	ssd_disturb(c, line);
	return nvc_nand_read(c, place - line * s->shape.per_line, 1, at, true);
}

/* Returns when the unit is in the buffer. */
static u64 write_unit(struct nvc *c, const struct part *part, u64 at, u32 *used)
{
	struct ssd *s = ssd_of(c);
	u32 id = temperature(c, part->unit);
	struct ssd_stream *stream = &s->streams[id];
	struct ssd_undo entry;
	u64 ready;
	u32 old;

	if (!stream->fill) {
		u32 base;

		nvc_gc_room(c);
		base = nvc_stream_word(c, id);
		if (base == SSD_NONE) {
			nvc_unit_lose(c, part->unit);
			return at;
		}
		at = nvc_buffer_take(s, id, base, at);
	}
	/* what is buffered need not wait for the map, unless the rest of the unit is read */
	ready = merge(c, part, nvc_mapping_write(c, part->unit, at));
	if (part->count < SSD_UNIT_SECTORS)
		at = ready;
	old = s->a.l2p[part->unit];
	memset(&entry, 0, sizeof(entry));
	entry.home = old == SSD_NONE ? SSD_GC :
		     nvc_place_home(c, s->a.lines[ssd_line_of(s, old)].stream);
	if (s->shape.undos)
		entry.mask = nvc_unit_mask(c, part->unit);
	nvc_stream_append(c, id, part->unit, ready);
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
	if (s->shape.handles)
		s->placement.ruhs[ssd_handle(id)].host_units++;
	*used |= 1 << id;
	return at;
}

/* Every unit of an extent. Returns when the last is in the buffer. */
u64 nvc_ssd_write_units(struct nvc *c, struct nvc_extent to, bool whole, u64 at, u32 *used)
{
	u64 end = to.first + to.count;
	u64 buffered = at;
	u8 parts = 0;

	while (to.first < end) {
		struct part part = { .unit = to.first / SSD_UNIT_SECTORS };

		part.first = to.first % SSD_UNIT_SECTORS;
		part.count = nvc_min(SSD_UNIT_SECTORS - part.first, end - to.first);
		part.whole = whole ? ++parts : 0;
		buffered = nvc_max(buffered, write_unit(c, &part, at, used));
		to.first += part.count;
	}
	return buffered;
}

static u64 units_of(struct nvc_extent at)
{
	return (at.first + at.count - 1) / SSD_UNIT_SECTORS - at.first / SSD_UNIT_SECTORS + 1;
}

static void pad_streams(struct nvc *c, u32 used)
{
	u32 id;

	for (id = 0; used >> id; id++)
		if (used >> id & 1)
			nvc_stream_pad(c, id);
}

/* What was written is done: when it is in the buffer, or when it is on the medium. */
u64 nvc_ssd_finish(struct nvc *c, const struct nvc_cmd *cmd, u64 end, u32 used)
{
	struct ssd *s = ssd_of(c);

	c->read_only = s->stats.read_only;
	if (c->config.model.plp || (nvc_cached(c, cmd) && !(cmd->flags & NVC_FUA)))
		return end;
	pad_streams(c, used);
	return nvc_max(end, s->latest);
}

static u64 ssd_write(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent to)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u64 time = ssd_link_time(s, to.count << NVC_MIN_BLOCK_SHIFT);
	u32 used = 0;
	u64 at, end;

	s->latest = 0;
	at = ssd_book(&s->link_in, c->now, c->now + m->fw_write, time);
	end = nvc_ssd_write_units(c, to, cmd->nlb <= m->awupf + 1, at, &used);
	return nvc_ssd_finish(c, cmd, end + units_of(to) * m->fw_write_unit, used);
}

/* Of sectors that hold data; the others are deallocated at the destination too. */
static u64 copy_extent(struct nvc *c, struct nvc_extent from, struct nvc_extent to, u32 *used)
{
	u64 end = c->now;
	bool written;

	while (from.count) {
		struct nvc_extent run = from;

		run.count = nvc_map_run(&c->written, from, &written);
		to.count = run.count;
		if (written)
			end = nvc_max(end, nvc_ssd_write_units(c, to, false,
							       nvc_ssd_read(c, run, NULL), used));
		else
			nvc_sweep_add(c, to);
		from.first += run.count;
		from.count -= run.count;
		to.first += run.count;
	}
	return end;
}

static u64 ssd_copy(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		    const struct nvc_range *ranges)
{
	u64 end = c->now + c->config.model.fw_write;
	u64 to = cmd->slba;
	u32 used = 0;
	u32 i;

	ssd_of(c)->latest = 0;
	for (i = 0; i < cmd->nlb; i++) {
		struct nvc_extent from = nvc_extent(ns, ranges[i].slba, ranges[i].nlb);

		end = nvc_max(end, copy_extent(c, from, nvc_extent(ns, to, 0), &used));
		to += ranges[i].nlb;
	}
	return nvc_ssd_finish(c, cmd, end, used);
}

/* Of commands that read: with FUA what they read is on the medium before. */
static u64 ssd_read(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	u64 safe = nvc_ssd_commit(c, cmd, at);
	struct ssd_timeline *link = cmd->opcode == NVC_READ ? &ssd_of(c)->link_out : NULL;

	return nvc_max(safe, nvc_ssd_read(c, at, link));
}

static u64 ssd_compare(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	u64 time = ssd_link_time(ssd_of(c), at.count << NVC_MIN_BLOCK_SHIFT);
	u64 there = ssd_book(&ssd_of(c)->link_in, c->now,
			     c->now + c->config.model.fw_read, time);

	return nvc_max(there, ssd_read(c, cmd, at));
}

/* Programs what is in the buffer and not under way yet. */
void nvc_ssd_settle(struct nvc *c)
{
	u32 handles = (1 << ssd_of(c)->shape.handles) - 1;

	pad_streams(c, 1 << SSD_COLD | 1 << SSD_HOT | handles << SSD_PLACED);
}

/**
 * nvc_ssd_commit() - have what is read with FUA survive a power cut
 * @c: the device
 * @cmd: the command
 * @at: sectors
 *
 * As a Flush, if some of them might be lost. The buffer then has them still, which
 * stands for the medium: it is the same data, and neither can go wrong.
 *
 * Return: ns, when they do.
 */
u64 nvc_ssd_commit(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	if (!(cmd->flags & NVC_FUA) || !nvc_ssd_risks(c, at))
		return c->now;
	nvc_ssd_settle(c);
	return ssd_of(c)->durable;
}

static u64 ssd_flush(struct nvc *c)
{
	u64 end = c->now + c->config.model.fw_write;

	if (c->config.model.plp || !c->config.vwc)
		return end;
	nvc_ssd_settle(c);
	return nvc_max(end, ssd_of(c)->durable);
}

static u64 ssd_deallocate(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
			  const struct nvc_range *ranges)
{
	u32 i;

	for (i = 0; cmd->flags & NVC_DEALLOCATE && i < cmd->nlb; i++)
		nvc_sweep_add(c, nvc_extent(ns, ranges[i].slba, ranges[i].nlb));
	return c->now + c->config.model.fw_write;
}

/**
 * nvc_ssd_change() - carry out any command but a plain Read
 * @c: the device
 * @cmd: the command
 * @ns: its namespace; not of a Flush
 * @ranges: as in nvc_submit()
 *
 * Return: ns, when it is due.
 */
u64 nvc_ssd_change(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		   const struct nvc_range *ranges)
{
	if (ssd_of(c)->shape.handles)
		nvc_place_begin(c, cmd);
	switch (cmd->opcode) {
	case NVC_FLUSH:
		return ssd_flush(c);
	case NVC_WRITE:
		return ssd_write(c, cmd, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_COMPARE:
		return ssd_compare(c, cmd, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_READ:
	case NVC_VERIFY:
		return ssd_read(c, cmd, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_COPY:
		return ssd_copy(c, cmd, ns, ranges);
	case NVC_DSM:
		return ssd_deallocate(c, cmd, ns, ranges);
	case NVC_WRITE_ZEROES:
		nvc_sweep_add(c, nvc_extent(ns, cmd->slba, cmd->nlb));
		return c->now + c->config.model.fw_write;
	case NVC_IO_SEND:
		if (cmd->action == NVC_RUH_UPDATE)
			nvc_place_update(c, cmd, ranges);
		return c->now + c->config.model.fw_write;
	default: /* Write Uncorrectable is only noted */
		return c->now + c->config.model.fw_write;
	}
}

/* What happened in the time before the command, and what is left to do of earlier ones. */
void nvc_ssd_catch_up(struct nvc *c)
{
	ssd_of(c)->began = ssd_of(c)->closings;
	if (c->now >= ssd_of(c)->gc.due)
		nvc_refresh(c);
	nvc_gc_idle(c);
	nvc_sweep(c, SWEEP);
}
