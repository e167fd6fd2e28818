/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zoned namespaces, by the Zoned Namespace command set 1.1 and its Zone Random
 * Write Area. On a device of kind NVC_ZNS namespace 1 is zoned; what of the
 * capacity has no zones is namespace 2. Declarations only, as in nvc.h; the
 * same lock.
 *
 * Zone Append, Zone Management Send and Receive are commands as any: see
 * nvc_submit(). Here is what carries their data, and what Identify and the logs
 * tell. What goes to the host is in its byte order, little-endian.
 */
#ifndef NVC_ZNS_H
#define NVC_ZNS_H

#include "nvc.h"

/**
 * enum nvc_zone_size - of what goes to the host
 * @NVC_ZONE_DESCRIPTOR: bytes of a zone's descriptor, and of the head of a report
 * @NVC_ZONE_CHANGES: zones that the Changed Zone List holds
 * @NVC_ZONE_CHANGES_MANY: instead of a number, more than these
 */
enum nvc_zone_size {
	NVC_ZONE_DESCRIPTOR = 64,
	NVC_ZONE_CHANGES = 511,
	NVC_ZONE_CHANGES_MANY = 0xffff,
};

/** enum nvc_zone_state - as in a zone's descriptor */
enum nvc_zone_state {
	NVC_ZONE_EMPTY = 0x1,
	NVC_ZONE_IMPLICIT = 0x2,
	NVC_ZONE_EXPLICIT = 0x3,
	NVC_ZONE_CLOSED = 0x4,
	NVC_ZONE_READ_ONLY = 0xd,
	NVC_ZONE_FULL = 0xe,
	NVC_ZONE_OFFLINE = 0xf,
};

/**
 * enum nvc_zone_attribute - as in a zone's descriptor
 * @NVC_ZONE_HAS_ZRWA: ZRWAV: it has a random write area
 * @NVC_ZONE_EXTENDED: ZDEV: its descriptor extension is the host's
 */
enum nvc_zone_attribute {
	NVC_ZONE_HAS_ZRWA = 0x08,
	NVC_ZONE_EXTENDED = 0x80,
};

/**
 * enum nvc_zone_send - actions of Zone Management Send
 * @NVC_ZONE_CLOSE: as named, and so on
 * @NVC_ZONE_FINISH: ""
 * @NVC_ZONE_OPEN: ""
 * @NVC_ZONE_RESET: ""
 * @NVC_ZONE_TAKE_OFFLINE: Offline Zone
 * @NVC_ZONE_SET_EXTENSION: Set Zone Descriptor Extension
 * @NVC_ZONE_FLUSH_ZRWA: Flush Explicit ZRWA Range; nvc_cmd.slba is its last block
 */
enum nvc_zone_send {
	NVC_ZONE_CLOSE = 0x01,
	NVC_ZONE_FINISH = 0x02,
	NVC_ZONE_OPEN = 0x03,
	NVC_ZONE_RESET = 0x04,
	NVC_ZONE_TAKE_OFFLINE = 0x05,
	NVC_ZONE_SET_EXTENSION = 0x10,
	NVC_ZONE_FLUSH_ZRWA = 0x11,
};

/** enum nvc_zone_receive - actions of Zone Management Receive */
enum nvc_zone_receive {
	NVC_ZONE_REPORT = 0x00,
	NVC_ZONE_REPORT_EXTENDED = 0x01,
};

/**
 * enum nvc_zone_option - which zones Zone Management Receive reports
 * @NVC_ZONES_ALL: all. Up to @NVC_ZONES_OFFLINE: those in one state
 * @NVC_ZONES_EMPTY: ""
 * @NVC_ZONES_IMPLICIT: ""
 * @NVC_ZONES_EXPLICIT: ""
 * @NVC_ZONES_CLOSED: ""
 * @NVC_ZONES_FULL: ""
 * @NVC_ZONES_READ_ONLY: ""
 * @NVC_ZONES_OFFLINE: ""
 * @NVC_ZONES_ATTENTION: those with an attribute that asks for something. The
 *	core never sets one
 */
enum nvc_zone_option {
	NVC_ZONES_ALL = 0,
	NVC_ZONES_EMPTY = 1,
	NVC_ZONES_IMPLICIT = 2,
	NVC_ZONES_EXPLICIT = 3,
	NVC_ZONES_CLOSED = 4,
	NVC_ZONES_FULL = 5,
	NVC_ZONES_READ_ONLY = 6,
	NVC_ZONES_OFFLINE = 7,
	NVC_ZONES_ATTENTION = 9,
};

/**
 * struct nvc_zoned - a zoned namespace, for Identify. Blocks are logical
 * @size: blocks from a zone to the next: ZSZE
 * @capacity: blocks of a zone that can be written
 * @zones: how many
 * @max_active: open or closed at a time; 0: no limit. MAR is one less
 * @max_open: open at a time; 0: no limit. MOR is one less
 * @append: blocks of the largest Zone Append; 0: no limit of its own
 * @append_shift: log2 of that in units of 4 KiB, for ZASL; 0 as above
 * @extension: bytes of a descriptor extension; ZDES is a 64th
 * @zrwa: blocks of a random write area: ZRWASZ
 * @zrwa_flush: blocks, ZRWAFG; explicit flushes are supported
 * @zrwa_zones: NUMZRWA; 0: none, ZRWASUP is clear
 * @read_across: a read may go across zones: RAZB
 */
struct nvc_zoned {
	u64 size;
	u64 capacity;
	u32 zones;
	u32 max_active;
	u32 max_open;
	u32 append;
	u32 append_shift;
	u32 extension;
	u32 zrwa;
	u32 zrwa_flush;
	u32 zrwa_zones;
	u32 read_across;
};

/**
 * struct nvc_zone - a zone. Blocks are logical
 * @start: first block
 * @wp: the write pointer; of a zone that is full or has none, how far it holds data
 * @state: enum nvc_zone_state
 * @attributes: enum nvc_zone_attribute
 */
struct nvc_zone {
	u64 start;
	u64 wp;
	u32 state;
	u32 attributes;
};

/**
 * nvc_zns_problem() - why there can be no zoned device of this configuration
 * @config: the configuration, of kind NVC_ZNS, its model within its limits
 *
 * What Linux's driver would refuse is refused here.
 *
 * Return: what is wrong with which parameter, in words, or NULL. nvc_check()
 * says -EINVAL then.
 */
const char *nvc_zns_problem(const struct nvc_config *config);

/**
 * nvc_zoned() - look at a zoned namespace
 * @c: the device
 * @nsid: any number
 * @zoned: filled in
 *
 * Return: whether it is one.
 */
bool nvc_zoned(const struct nvc *c, u32 nsid, struct nvc_zoned *zoned);

/**
 * nvc_zone() - look at a zone of namespace 1
 * @c: the device, of kind NVC_ZNS
 * @index: below nvc_zoned.zones
 * @zone: filled in
 */
void nvc_zone(const struct nvc *c, u32 index, struct nvc_zone *zone);

/**
 * nvc_zone_report() - the data of Zone Management Receive
 * @c: the device
 * @cmd: the command, which nvc_submit() answered with NVC_DATA_REPORT
 * @buffer: for the host
 * @bytes: of @buffer, what the command asks for
 *
 * Descriptors that do not fit as a whole are left out.
 *
 * Return: bytes filled; what is behind them means nothing.
 */
u32 nvc_zone_report(const struct nvc *c, const struct nvc_cmd *cmd, u8 *buffer, u32 bytes);

/**
 * nvc_zone_extend() - keep the data of a Set Zone Descriptor Extension
 * @c: the device
 * @cmd: the command, which nvc_submit() answered with NVC_DATA_EXTENSION
 * @data: nvc_zoned.extension bytes of the host
 */
void nvc_zone_extend(struct nvc *c, const struct nvc_cmd *cmd, const u8 *data);

/**
 * nvc_zone_changed() - whether there is something new in the Changed Zone List
 * @c: the device
 *
 * Return: nvc_counters.zone_changes.
 */
u64 nvc_zone_changed(const struct nvc *c);

/**
 * nvc_zone_changes() - the Changed Zone List
 * @c: the device
 * @starts: NVC_ZONE_CHANGES entries: first blocks of zones that the controller changed
 * @clear: forget them
 *
 * Zones that turned read-only or offline, because the medium failed.
 *
 * Return: entries of @starts, or NVC_ZONE_CHANGES_MANY: more than it holds.
 */
u32 nvc_zone_changes(struct nvc *c, u64 *starts, bool clear);

#endif
