// SPDX-License-Identifier: GPL-2.0-or-later
/* What the standard lets a command do to zones, and the status of one that does more. */
#include "zns.h"

/* Whether one more zone may be open, and active if this one is not. */
static u16 check_room(const struct zns *zns, const struct zns_zone *zone)
{
	const struct zns_shape *g = &zns->shape;

	if (!zone_active(zone) && zns->active == g->max_active)
		return NVC_SC_TOO_MANY_ACTIVE;
	/* those opened by a write can be closed */
	if (!zone_open(zone) && zns->opened == g->max_open && !zns->implicit)
		return NVC_SC_TOO_MANY_OPEN;
	return NVC_SC_SUCCESS;
}

/* Whether a state lets anything be written. */
static u16 check_state(const struct zns_zone *zone)
{
	switch (zone->state) {
	case NVC_ZONE_FULL:
		return NVC_SC_ZONE_FULL;
	case NVC_ZONE_READ_ONLY:
		return NVC_SC_ZONE_READ_ONLY;
	case NVC_ZONE_OFFLINE:
		return NVC_SC_ZONE_OFFLINE;
	default:
		return NVC_SC_SUCCESS;
	}
}

static u16 check_write(const struct zns *zns, struct nvc_extent at)
{
	const struct zns_zone *zone = &zns->zones[zone_index(zns, at.first)];
	bool zrwa = zone->attributes & NVC_ZONE_HAS_ZRWA;
	u32 from = zone_offset(zns, at.first);
	u16 status = check_state(zone);

	if (status)
		return status;
	if (zrwa ? from < zone->wp || from + at.count > zone->wp + 2 * (u64)zns->shape.zrwa :
		   from != zone->wp)
		return NVC_SC_ZONE_INVALID_WRITE;
	if (from + at.count > zns->shape.capacity)
		return NVC_SC_ZONE_BOUNDARY;
	return check_room(zns, zone);
}

static u16 check_append(const struct zns *zns, struct nvc_extent at)
{
	const struct zns_zone *zone = &zns->zones[zone_index(zns, at.first)];
	u16 status = check_state(zone);

	if (status)
		return status;
	if (zone->attributes & NVC_ZONE_HAS_ZRWA)
		return NVC_SC_ZONE_OPERATION;
	if (zone_offset(zns, at.first))
		return NVC_SC_INVALID_FIELD;
	if (zns->shape.append && at.count > zns->shape.append)
		return NVC_SC_INVALID_FIELD;
	if (at.count > zns->shape.capacity - zone->wp)
		return NVC_SC_ZONE_BOUNDARY;
	return check_room(zns, zone);
}

static u16 check_read(const struct nvc *c, struct nvc_extent at)
{
	const struct zns *zns = zns_of(c);
	u32 z = zone_index(zns, at.first);
	u32 last = zone_index(zns, at.first + at.count - 1);

	if (z != last && !c->config.model.zone_read_across)
		return NVC_SC_ZONE_BOUNDARY;
	for (; z <= last; z++)
		if (zns->zones[z].state == NVC_ZONE_OFFLINE)
			return NVC_SC_ZONE_OFFLINE;
	return NVC_SC_SUCCESS;
}

static u16 check_copy(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd,
		      const struct nvc_range *sources)
{
	u16 status = NVC_SC_SUCCESS;
	u64 nlb = 0;
	u32 i;

	for (i = 0; i < cmd->nlb && !status; i++) {
		status = check_read(c, nvc_extent(ns, sources[i].slba, sources[i].nlb));
		nlb += sources[i].nlb;
	}
	return status ?: check_write(zns_of(c), nvc_extent(ns, cmd->slba, nlb));
}

static u16 check_open(const struct zns *zns, const struct nvc_cmd *cmd, u32 z)
{
	const struct zns_zone *zone = &zns->zones[z];
	bool more = cmd->flags & NVC_ZRWA && !(zone->attributes & NVC_ZONE_HAS_ZRWA);
	u16 status;

	if (cmd->flags & NVC_ZRWA && !zns->shape.max_zrwas)
		return NVC_SC_ZONE_OPERATION;
	if (check_state(zone))
		return NVC_SC_ZONE_TRANSITION;
	status = check_room(zns, zone);
	if (status || !more)
		return status;
	/* the area begins at the write pointer and is committed grain by grain */
	if (zns->zrwas == zns->shape.max_zrwas || zone->wp % zns->shape.flush)
		return NVC_SC_ZRWA_UNAVAILABLE;
	return NVC_SC_SUCCESS;
}

/* All closed zones are to be opened, or none. */
static u16 check_open_all(const struct zns *zns, const struct nvc_cmd *cmd)
{
	u32 closed = zns->active - zns->opened;

	if (cmd->flags & NVC_ZRWA)
		return NVC_SC_INVALID_FIELD;
	if (closed + zns->opened - zns->implicit > zns->shape.max_open)
		return NVC_SC_TOO_MANY_OPEN;
	return NVC_SC_SUCCESS;
}

/* @end: of what is to be committed, sector of the zone. */
static u16 check_flush(const struct zns *zns, u32 z, u32 end)
{
	const struct zns_zone *zone = &zns->zones[z];

	if (!zns->shape.max_zrwas)
		return NVC_SC_ZONE_OPERATION;
	if (!(zone->attributes & NVC_ZONE_HAS_ZRWA))
		return NVC_SC_INVALID_FIELD;
	if (end <= zone->wp || end - zone->wp > zns->shape.zrwa || end > zns->shape.capacity)
		return NVC_SC_ZONE_BOUNDARY;
	if ((end - zone->wp) % zns->shape.flush)
		return NVC_SC_INVALID_FIELD;
	return check_room(zns, zone);
}

static bool action_known(const struct zns *zns, u32 action)
{
	if (action == NVC_ZONE_SET_EXTENSION)
		return zns->shape.extension;
	return (action >= NVC_ZONE_CLOSE && action <= NVC_ZONE_TAKE_OFFLINE) ||
	       action == NVC_ZONE_FLUSH_ZRWA;
}

/* Of actions other than Open, whether they have a zone in this state. */
static bool action_fits(u32 action, const struct zns_zone *zone)
{
	switch (action) {
	case NVC_ZONE_CLOSE:
		return zone_active(zone);
	case NVC_ZONE_TAKE_OFFLINE:
		return zone->state == NVC_ZONE_READ_ONLY || zone->state == NVC_ZONE_OFFLINE;
	case NVC_ZONE_SET_EXTENSION:
		return zone->state == NVC_ZONE_EMPTY;
	default: /* Finish, Reset */
		return zone->state != NVC_ZONE_READ_ONLY && zone->state != NVC_ZONE_OFFLINE;
	}
}

static u16 check_one(const struct zns *zns, const struct nvc_cmd *cmd, u32 z)
{
	if (cmd->action == NVC_ZONE_OPEN)
		return check_open(zns, cmd, z);
	if (!action_fits(cmd->action, &zns->zones[z]))
		return NVC_SC_ZONE_TRANSITION;
	if (cmd->action == NVC_ZONE_SET_EXTENSION && zns->active == zns->shape.max_active)
		return NVC_SC_TOO_MANY_ACTIVE;
	return NVC_SC_SUCCESS;
}

static u16 check_send(const struct zns *zns, const struct nvc_ns *ns, const struct nvc_cmd *cmd)
{
	struct nvc_extent at;

	if (!action_known(zns, cmd->action))
		return NVC_SC_INVALID_FIELD;
	if (cmd->flags & NVC_ALL_ZONES && cmd->action == NVC_ZONE_OPEN)
		return check_open_all(zns, cmd);
	if (cmd->flags & NVC_ALL_ZONES)
		return cmd->action < NVC_ZONE_SET_EXTENSION ? NVC_SC_SUCCESS : NVC_SC_INVALID_FIELD;
	if (cmd->slba >= ns->blocks)
		return NVC_SC_LBA_RANGE;
	at = nvc_extent(ns, cmd->slba, 1);
	if (cmd->action == NVC_ZONE_FLUSH_ZRWA)
		return check_flush(zns, zone_index(zns, at.first),
				   zone_offset(zns, at.first) + at.count);
	if (zone_offset(zns, at.first))
		return NVC_SC_INVALID_FIELD;
	return check_one(zns, cmd, zone_index(zns, at.first));
}

static u16 check_receive(const struct zns *zns, const struct nvc_ns *ns,
			 const struct nvc_cmd *cmd)
{
	if (cmd->slba >= ns->blocks)
		return NVC_SC_LBA_RANGE;
	if (cmd->option > NVC_ZONES_OFFLINE && cmd->option != NVC_ZONES_ATTENTION)
		return NVC_SC_INVALID_FIELD;
	if (cmd->action == NVC_ZONE_REPORT_EXTENDED)
		return zns->shape.extension ? NVC_SC_SUCCESS : NVC_SC_INVALID_FIELD;
	return cmd->action == NVC_ZONE_REPORT ? NVC_SC_SUCCESS : NVC_SC_INVALID_FIELD;
}

/**
 * nvc_zone_check() - what zones have against a command
 * @c: the device
 * @ns: the zoned namespace
 * @cmd: the command, with nothing else against it
 * @ranges: as in nvc_submit()
 *
 * Return: enum nvc_status.
 */
u16 nvc_zone_check(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd,
		   const struct nvc_range *ranges)
{
	const struct zns *zns = zns_of(c);

	switch (cmd->opcode) {
	case NVC_WRITE:
	case NVC_WRITE_ZEROES:
	case NVC_WRITE_UNCOR:
		return check_write(zns, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_ZONE_APPEND:
		if (!cmd->nlb || cmd->nlb > NVC_MAX_BLOCKS)
			return NVC_SC_INVALID_FIELD;
		if (cmd->slba >= ns->blocks)
			return NVC_SC_LBA_RANGE;
		return check_append(zns, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_READ:
	case NVC_COMPARE:
	case NVC_VERIFY:
		return check_read(c, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_COPY:
		return check_copy(c, ns, cmd, ranges);
	case NVC_ZONE_SEND:
		return check_send(zns, ns, cmd);
	case NVC_ZONE_RECEIVE:
		return check_receive(zns, ns, cmd);
	default: /* Flush, Dataset Management */
		return NVC_SC_SUCCESS;
	}
}
