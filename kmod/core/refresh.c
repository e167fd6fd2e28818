// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Refresh: what lies on a line whose pages were read too often (read disturb), or
 * that was begun too long ago (retention), is moved and the line erased, before
 * there are more errors on it than can be corrected.
 *
 * It is collection of a victim that is chosen for that alone, one word after the
 * other: the next is begun when the last is moved, whatever else there is to do, so
 * that hosts wait for one at most. Till ssd_gc.due no line can need it, so nothing
 * is looked at before.
 */
#include "ssd.h"

/* Words that one command may find to have been moved before it. */
#define REFRESH_STEPS 256

/* ns of the drive's life until which a line may hold what it does. */
static u64 keeps_until(const struct nvc *c, u32 line)
{
	u64 retention = c->config.model.retention * SSD_MS;

	return retention ? ssd_of(c)->a.lines[line].opened + retention : SSD_NEVER;
}

static bool disturbed(const struct nvc *c, u32 line)
{
	u32 most = c->config.model.read_disturb;

	return most && ssd_of(c)->a.lines[line].reads >= most;
}

/* It holds data, and is being collected, or can be once it is closed. */
static bool refreshable(const struct ssd *s, u32 line)
{
	const struct ssd_line *l = &s->a.lines[line];

	if (!l->valid || line == s->gc.victim || l->stream == SSD_MAP)
		return l->valid;
	return l->state == SSD_OPEN ? l->valid <= nvc_line_room(s, line) : nvc_movable(s, line);
}

/* A line that is open is closed first. Bad blocks that are found then may forbid the rest. */
static bool collectable(struct nvc *c, u32 line)
{
	const struct ssd_line *l = &ssd_of(c)->a.lines[line];

	if (l->state == SSD_OPEN)
		nvc_stream_leave(c, l->stream);
	return line == ssd_of(c)->gc.victim || l->stream == SSD_MAP || nvc_movable(ssd_of(c), line);
}

/* Of the lines that are due at @clock the oldest, or SSD_NONE; then ssd_gc.due is later. */
static u32 find_due(struct nvc *c, u64 clock)
{
	struct ssd *s = ssd_of(c);
	u64 next = SSD_NEVER;
	u32 oldest = SSD_NONE;
	u32 line;

	for (line = 0; line < s->shape.lines; line++) {
		u64 until = keeps_until(c, line);

		if (!refreshable(s, line))
			continue;
		if (!disturbed(c, line) && until > clock + s->epoch)
			next = until == SSD_NEVER ? next : nvc_min(next, until - s->epoch);
		else if (oldest == SSD_NONE || s->a.lines[line].opened < s->a.lines[oldest].opened)
			oldest = line;
	}
	if (oldest != SSD_NONE && collectable(c, oldest))
		return oldest;
	s->gc.due = oldest == SSD_NONE ? next : clock + 1;
	return SSD_NONE;
}

/* As find_due(), at a later time if need be that is not later than now. */
static u32 next_due(struct nvc *c, u64 *clock)
{
	u32 line;

	while ((line = find_due(c, *clock)) == SSD_NONE) {
		if (ssd_of(c)->gc.due > c->now)
			return SSD_NONE;
		*clock = ssd_of(c)->gc.due;
	}
	return line;
}

static void count(struct nvc *c, u32 line)
{
	if (disturbed(c, line))
		ssd_of(c)->stats.disturb_victims++;
	else
		ssd_of(c)->stats.retention_victims++;
}

/* Moves a word of a line that is due, or a whole one of the map's, at @clock. False if none is. */
static bool step(struct nvc *c, u64 *clock)
{
	struct ssd *s = ssd_of(c);
	bool in_hand = s->gc.victim != SSD_NONE && s->gc.victim == s->gc.refresh;
	u32 line = in_hand ? s->gc.victim : next_due(c, clock);

	if (line == SSD_NONE)
		return false;
	s->time = *clock;
	if (s->a.lines[line].stream == SSD_MAP) {
		count(c, line);
		s->stats.victims++;
		nvc_mapping_collect(c, line);
		return true;
	}
	if (s->gc.victim == SSD_NONE) {
		count(c, line);
		s->gc.refresh = line;
		nvc_gc_begin(c, line);
	}
	nvc_gc_step(c, *clock);
	return true;
}

/**
 * nvc_refresh() - move what is due
 * @c: the device, at ssd_gc.due or later, before a command
 *
 * As much as there was time for, behind what collection has in hand. A drive that
 * only reads has nowhere to move it to.
 */
void nvc_refresh(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u64 clock = nvc_max(nvc_max(s->time, s->gc.due), s->gc.pace);
	u32 steps = 0;

	if (s->stats.read_only) {
		s->gc.due = SSD_NEVER;
		return;
	}
	for (; steps < REFRESH_STEPS && clock <= c->now; steps++) {
		s->time = clock;
		if (!step(c, &clock))
			return;
		clock = nvc_max(clock + 1, nvc_max(s->gc.seen, s->gc.copied));
		s->gc.pace = clock;
	}
}
