// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Placement: which stream a write goes to by the handle that it names, and what is
 * noted of handles. What an event is, is the standard's: Base 2.1, 5.1.12.1.32.
 */
#include "snapshot.h"
#include "ssd.h"

/* The stream that collection copies to what @stream wrote. */
u32 nvc_place_home(const struct nvc *c, u32 stream)
{
	if (stream < SSD_PLACED || !c->config.model.fdp_persistent)
		return SSD_GC;
	return SSD_KEPT + ssd_handle(stream);
}

static void note(struct ssd *s, const struct nvc_fdp_event *event)
{
	bool controller = event->type >= NVC_FDP_MOVED;
	u64 n = s->placement.noted[controller]++;
	u32 at = n - nvc_div(n, NVC_FDP_EVENTS) * NVC_FDP_EVENTS;

	s->placement.events[controller][at] = *event;
}

/* That a host did something to handle @ruh, if it wants to be told. */
static void note_host(struct nvc *c, u32 ruh, u32 tell, const struct nvc_fdp_event *event)
{
	struct ssd *s = ssd_of(c);
	struct nvc_fdp_event whole = *event;

	if (!(s->placement.ruhs[ruh].tell & tell))
		return;
	whole.time = c->now;
	whole.ruh = ruh;
	note(s, &whole);
}

/**
 * nvc_place_begin() - a command begins that may write
 * @c: the device, with handles
 * @cmd: the command
 *
 * What names no handle, and what names one that there is not, goes through handle 0.
 */
void nvc_place_begin(struct nvc *c, const struct nvc_cmd *cmd)
{
	struct ssd *s = ssd_of(c);
	bool writes = cmd->opcode == NVC_WRITE || cmd->opcode == NVC_COPY;
	struct nvc_fdp_event event = {
		.nsid = cmd->nsid, .pid = cmd->key, .type = NVC_FDP_BAD_PID,
	};

	s->placement.stream = SSD_PLACED;
	if (!writes || cmd->action != NVC_DIRECTIVE_PLACEMENT)
		return;
	if (cmd->key < s->shape.handles)
		s->placement.stream = SSD_PLACED + cmd->key;
	else
		note_host(c, 0, NVC_TELL_BAD_PID, &event);
}

/**
 * nvc_place_update() - handles refer to other reclaim units
 * @c: the device
 * @cmd: I/O Management Send
 * @ranges: placement identifiers, each of a handle
 *
 * One whose reclaim unit nothing was written to keeps it.
 */
void nvc_place_update(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	struct nvc_fdp_event event = { .nsid = cmd->nsid, .type = NVC_FDP_NOT_FULL };
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		u32 ruh = ranges[i].slba;

		event.pid = ruh;
		if (nvc_stream_room(ssd_of(c), SSD_PLACED + ruh))
			note_host(c, ruh, NVC_TELL_NOT_FULL, &event);
		nvc_stream_leave(c, SSD_PLACED + ruh);
	}
}

/* The namespace that a unit lies in, or NULL. */
static const struct nvc_ns *namespace_of(const struct nvc *c, u32 unit)
{
	u64 byte = (u64)unit << SSD_UNIT_SHIFT;
	u32 i;

	for (i = 0; i < NVC_MAX_NS; i++)
		if (c->ns[i].blocks && byte - c->ns[i].start < c->ns[i].bytes)
			return &c->ns[i];
	return NULL;
}

/**
 * nvc_place_moving() - collection moves a unit of the victim
 * @c: the device, with handles
 * @unit: logical
 */
void nvc_place_moving(struct nvc *c, u32 unit)
{
	struct ssd *s = ssd_of(c);
	u32 handle = ssd_handle(s->a.lines[s->gc.victim].stream);

	if (handle == SSD_NONE)
		return;
	s->placement.ruhs[handle].gc_units++;
	if (!(s->placement.ruhs[handle].tell & NVC_TELL_MOVED))
		return;
	if (!s->gc.moved)
		s->gc.first = unit;
	if (namespace_of(c, unit) == namespace_of(c, s->gc.first))
		s->gc.moved++;
}

/* What was to be told of was moved: the victim is about to be erased. */
void nvc_place_moved(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	const struct nvc_ns *ns = namespace_of(c, s->gc.first);
	u64 first = (u64)s->gc.first << SSD_UNIT_SHIFT;
	u32 handle = ssd_handle(s->a.lines[s->gc.victim].stream);
	struct nvc_fdp_event event = {
		.time = c->now, .pid = handle, .ruh = handle, .type = NVC_FDP_MOVED,
	};

	if (!ns)
		return;
	event.nsid = ns - c->ns + 1;
	event.lba = (first - ns->start) >> ns->block_shift;
	event.blocks = s->gc.moved << (SSD_UNIT_SHIFT - ns->block_shift);
	note(s, &event);
}

/* What is noted of a handle from now on. Returns 0, or -EINVAL. */
int nvc_place_tell(struct nvc *c, u64 handle, u32 tell)
{
	if (c->config.kind != NVC_SSD || handle >= ssd_of(c)->shape.handles || tell > NVC_TELL_ALL)
		return -EINVAL;
	ssd_of(c)->placement.ruhs[handle].tell = tell;
	return 0;
}

void nvc_ruh(const struct nvc *c, u32 ruh, struct nvc_ruh *found)
{
	const struct ssd *s = ssd_of(c);
	u32 room = nvc_stream_room(s, SSD_PLACED + ruh);

	*found = s->placement.ruhs[ruh];
	found->room_units = room ? room : s->shape.per_line;
}

void nvc_fdp_stats(const struct nvc *c, struct nvc_fdp_stats *stats)
{
	const struct ssd *s = ssd_of(c);

	stats->host_bytes = c->counters.bytes_written;
	stats->media_bytes = s->stats.programs * s->shape.per_program << SSD_UNIT_SHIFT;
	stats->erased_bytes = s->stats.erased_units << SSD_UNIT_SHIFT;
}

u32 nvc_fdp_events(const struct nvc *c, bool controller, struct nvc_fdp_event *events)
{
	const struct ssd_placement *p = &ssd_of(c)->placement;
	u64 noted = p->noted[controller];
	u32 n = nvc_min(noted, NVC_FDP_EVENTS);
	u32 at = noted - nvc_div(noted, NVC_FDP_EVENTS) * NVC_FDP_EVENTS;
	u32 i;

	if (n < NVC_FDP_EVENTS)
		at = 0;
	for (i = 0; i < n; i++)
		events[i] = p->events[controller][(at + i) % NVC_FDP_EVENTS];
	return n;
}

static bool sound_event(const struct nvc_fdp_event *event, bool controller)
{
	bool moved = event->type == NVC_FDP_MOVED;

	return event->ruh < NVC_MAX_RUHS && event->nsid <= NVC_MAX_NS && moved == controller &&
	       (moved || event->type == NVC_FDP_NOT_FULL || event->type == NVC_FDP_BAD_PID);
}

static bool sound_events(const struct ssd_placement *p, bool controller)
{
	u32 n = nvc_min(p->noted[controller], NVC_FDP_EVENTS);
	u32 i;

	for (i = 0; i < n; i++)
		if (!sound_event(&p->events[controller][i], controller))
			return false;
	return nvc_sound(p->noted[controller]);
}

/* Whether there can be such handles: what was written through them is all that was written. */
bool nvc_place_sound(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	const struct ssd_placement *p = &s->placement;
	u64 written = 0, copied = 0;
	u32 i;

	for (i = 0; i < NVC_MAX_RUHS; i++) {
		const struct nvc_ruh *ruh = &p->ruhs[i];

		if (!nvc_sound(ruh->host_units) || !nvc_sound(ruh->gc_units) ||
		    !nvc_sound(ruh->reclaim_units) || ruh->tell > NVC_TELL_ALL)
			return false;
		written += ruh->host_units;
		copied += ruh->gc_units;
	}
	return copied <= s->stats.gc_units && sound_events(p, false) && sound_events(p, true) &&
	       (!s->gc.moved || s->gc.first < s->shape.units) && s->gc.moved <= s->shape.per_line &&
	       (!s->shape.handles || written == s->stats.host_units);
}
