// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes, Flush and deallocation on an SSD. */
#include "ssd.h"

/* Deallocated units looked at with each command. */
#define SWEEP 4096

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
	at = ssd_book(&s->link_in, c->now, c->now + m->fw_write, ssd_link_time(s, bytes));
	end = write_units(c, cmd, at, &used) + (u64)units * m->fw_write_unit;
	c->read_only = s->stats.read_only;
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

/**
 * nvc_ssd_change() - carry out any command but Read
 * @c: the device
 * @cmd: the command
 * @ranges: as in nvc_submit()
 *
 * Return: ns, when it is due.
 */
u64 nvc_ssd_change(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	switch (cmd->opcode) {
	case NVC_WRITE:
		return ssd_write(c, cmd);
	case NVC_FLUSH:
		return ssd_flush(c);
	default:
		return ssd_deallocate(c, cmd, ranges);
	}
}

/* What happened in the time before the command, and what is left to do of earlier ones. */
void nvc_ssd_catch_up(struct nvc *c)
{
	nvc_gc_idle(c);
	ssd_of(c)->time = c->now;
	nvc_sweep(c, SWEEP);
}
