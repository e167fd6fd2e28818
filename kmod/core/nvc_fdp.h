/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flexible Data Placement (NVMe TP4146, Base 2.1 section 8.1.10) of kind ssd: hosts
 * say beside which other data a write goes, by the reclaim unit handle that it goes
 * through. Declarations only, as in nvc.h; the same lock.
 *
 * There is one reclaim group: superblocks go across all dies, so two groups would
 * not be apart. A reclaim unit is a superblock. Every namespace has all handles:
 * placement handle n, and so placement identifier n, is reclaim unit handle n.
 */
#ifndef NVC_FDP_H
#define NVC_FDP_H

#include "nvc_ssd.h"

/**
 * enum nvc_fdp_limit - bounds
 * @NVC_MAX_RUHS: reclaim unit handles
 * @NVC_FDP_EVENTS: latest events kept, of hosts and of the controller each: as many
 *	as one log page of 4 KiB holds
 * @NVC_DIRECTIVE_PLACEMENT: directive type: Data Placement
 * @NVC_RUH_UPDATE: of I/O Management Send: handles refer to other reclaim units
 * @NVC_RUH_STATUS: of I/O Management Receive
 */
enum nvc_fdp_limit {
	NVC_MAX_RUHS = 16,
	NVC_FDP_EVENTS = 63,
	NVC_DIRECTIVE_PLACEMENT = 2,
	NVC_RUH_UPDATE = 1,
	NVC_RUH_STATUS = 1,
};

/**
 * enum nvc_fdp_type - what happened; those of the controller from 80h on
 * @NVC_FDP_NOT_FULL: a host updated a handle whose reclaim unit had room left
 * @NVC_FDP_BAD_PID: a write named no placement identifier; it went through handle 0
 * @NVC_FDP_MOVED: collection moved data that was written through a handle
 */
enum nvc_fdp_type {
	NVC_FDP_NOT_FULL = 0x00,
	NVC_FDP_BAD_PID = 0x03,
	NVC_FDP_MOVED = 0x80,
};

/**
 * enum nvc_fdp_tell - which events are noted, as bits of NVC_NS_EVENTS
 * @NVC_TELL_NOT_FULL: NVC_FDP_NOT_FULL
 * @NVC_TELL_BAD_PID: NVC_FDP_BAD_PID
 * @NVC_TELL_MOVED: NVC_FDP_MOVED
 * @NVC_TELL_ALL: all of them
 */
enum nvc_fdp_tell {
	NVC_TELL_NOT_FULL = 1,
	NVC_TELL_BAD_PID = 2,
	NVC_TELL_MOVED = 4,
	NVC_TELL_ALL = 7,
};

/**
 * struct nvc_fdp_event - something that happened to a handle
 * @time: ns
 * @lba: of NVC_FDP_MOVED, the first block moved
 * @nsid: namespace
 * @blocks: of NVC_FDP_MOVED, logical blocks moved of that namespace
 * @pid: placement identifier; of NVC_FDP_BAD_PID as the host said it
 * @ruh: handle
 * @type: enum nvc_fdp_type
 * @unused: 0
 */
struct nvc_fdp_event {
	u64 time;
	u64 lba;
	u32 nsid;
	u32 blocks;
	u16 pid;
	u16 ruh;
	u16 type;
	u16 unused;
};

/**
 * struct nvc_ruh - a reclaim unit handle. Units are 4 KiB
 * @host_units: written through it for hosts
 * @gc_units: of what was written through it, copied by collection; where data of
 *	several handles were collected together they are nobody's
 * @reclaim_units: that it has referred to
 * @room_units: that can be written before it refers to another
 * @tell: enum nvc_fdp_tell
 */
struct nvc_ruh {
	u64 host_units;
	u64 gc_units;
	u64 reclaim_units;
	u64 room_units;
	u64 tell;
};

/**
 * struct nvc_fdp_stats - the FDP Statistics log, in bytes
 * @host_bytes: HBMW: what hosts wrote: Write
 * @media_bytes: MBMW: programmed, for whatever reason
 * @erased_bytes: MBE: of the blocks erased
 */
struct nvc_fdp_stats {
	u64 host_bytes;
	u64 media_bytes;
	u64 erased_bytes;
};

/**
 * nvc_ruh() - look at a handle
 * @c: the device, with handles
 * @ruh: below nvc_model.fdp_handles
 * @found: a copy
 */
void nvc_ruh(const struct nvc *c, u32 ruh, struct nvc_ruh *found);

/**
 * nvc_fdp_stats() - the statistics
 * @c: the device, with handles
 * @stats: a copy
 */
void nvc_fdp_stats(const struct nvc *c, struct nvc_fdp_stats *stats);

/**
 * nvc_fdp_events() - the latest events
 * @c: the device, with handles
 * @controller: those of the controller, not those of hosts
 * @events: NVC_FDP_EVENTS entries; the oldest first
 *
 * Return: how many.
 */
u32 nvc_fdp_events(const struct nvc *c, bool controller, struct nvc_fdp_event *events);

#endif
