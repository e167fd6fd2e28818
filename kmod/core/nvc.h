/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device without its body: what a command's status is, when it is due,
 * and what it does to the medium. The kernel module and the simulator both
 * call this, with the same results.
 *
 * The caller gives the memory and the time, and holds one lock per device
 * round every call, so that "now" and the sequence number agree on the order.
 * Times are nanoseconds on any one clock; one that runs backwards is taken as
 * the latest seen. Keep this file to declarations: Python reads it too.
 */
#ifndef NVC_H
#define NVC_H

#include "nvc_model.h"

/* The NSID that means all namespaces. Flush takes it: VWC bits 2:1 are 11b. */
#define NVC_ALL_NS 0xffffffff

struct nvc;

/**
 * enum nvc_kind - what the device is
 * @NVC_NVM: no NAND underneath: a fixed delay and a time per unit
 * @NVC_SSD: a conventional SSD: flash and its translation
 * @NVC_HDD: a spinning disk
 * @NVC_ZNS: an SSD whose first namespace is zoned; see nvc_zns.h
 * @NVC_KV: an SSD that holds values by keys; see nvc_kv.h
 * @NVC_KINDS: how many there are
 */
enum nvc_kind {
	NVC_NVM = 0,
	NVC_SSD,
	NVC_HDD,
	NVC_ZNS,
	NVC_KV,
	NVC_KINDS,
};

/**
 * enum nvc_limit - bounds of what a configuration or a command may say
 * @NVC_MIN_BLOCK_SHIFT: log2 of the smallest logical block in bytes
 * @NVC_MAX_NS: namespaces; NSIDs are 1 to this
 * @NVC_NS_SHIFT: log2 of what namespaces begin at a multiple of, in bytes
 * @NVC_MAX_UNITS: parallel units of kind nvm
 * @NVC_MAX_UNIT_SHIFT: log2 of the largest unit in bytes
 * @NVC_MAX_BYTES_SHIFT: log2 of the largest capacity in bytes
 * @NVC_MAX_BLOCKS: logical blocks of one command (NLB has 16 bits)
 * @NVC_MAX_RANGES: ranges of one Dataset Management command
 * @NVC_MAX_SOURCES: source ranges of one Copy command
 * @NVC_COPY_SHIFT: log2 of what one Copy command copies at most, in bytes
 * @NVC_MAX_CTRLS: controllers of a device
 * @NVC_MAX_RULES: fault rules of a device
 * @NVC_MAX_DELAY_SHIFT: log2 of the longest delay by a rule in ns, 13 days
 * @NVC_MILLION: a rule's chance that is a certainty
 */
enum nvc_limit {
	NVC_MIN_BLOCK_SHIFT = 9,
	NVC_MAX_NS = 32,
	NVC_NS_SHIFT = 21,
	NVC_MAX_UNITS = 1024,
	NVC_MAX_UNIT_SHIFT = 30,
	NVC_MAX_BYTES_SHIFT = 48,
	NVC_MAX_BLOCKS = 65536,
	NVC_MAX_RANGES = 256,
	NVC_MAX_SOURCES = 128,
	NVC_COPY_SHIFT = 20,
	NVC_MAX_CTRLS = 32,
	NVC_MAX_RULES = 32,
	NVC_MAX_DELAY_SHIFT = 50,
	NVC_MILLION = 1000000,
};

/**
 * struct nvc_timing - how fast the medium is; may change while in use
 * @read_delay: ns, once per command, before its first unit
 * @read_time: ns for each unit
 * @write_delay: as @read_delay, for what changes the medium
 * @write_time: as @read_time, for what changes the medium
 * @units: units that work at the same time; unit n of the medium is served
 *	by n modulo this
 * @unit_shift: log2 of a unit in bytes, at least the smallest block's
 */
struct nvc_timing {
	u32 read_delay;
	u32 read_time;
	u32 write_delay;
	u32 write_time;
	u32 units;
	u32 unit_shift;
};

/**
 * struct nvc_config - what is fixed when a device is made
 * @blocks: capacity in logical blocks; namespace 1 is all of it, until it is
 *	deleted
 * @seed: of every random choice
 * @kind: enum nvc_kind
 * @block_shift: log2 of a logical block of namespace 1 in bytes: 9 or 12
 * @vwc: 1 if the controller reports a volatile write cache, else 0. It says
 *	what Flush costs: a write is done when the medium has it, so with a
 *	cache Flush waits for the writes under way, and without one for nothing
 * @timing: the first timing, of kind nvm
 * @model: of the other kinds
 */
struct nvc_config {
	u64 blocks;
	u64 seed;
	u32 kind;
	u32 block_shift;
	u32 vwc;
	struct nvc_timing timing;
	struct nvc_model model;
};

/**
 * enum nvc_opcode - I/O commands of the NVM command set, those of zoned namespaces,
 *	and those of key value namespaces, some of which have the same number
 */
enum nvc_opcode {
	NVC_FLUSH = 0x00,
	NVC_WRITE = 0x01,
	NVC_READ = 0x02,
	NVC_WRITE_UNCOR = 0x04,
	NVC_COMPARE = 0x05,
	NVC_WRITE_ZEROES = 0x08,
	NVC_DSM = 0x09,
	NVC_VERIFY = 0x0c,
	NVC_IO_RECEIVE = 0x12,
	NVC_COPY = 0x19,
	NVC_IO_SEND = 0x1d,
	NVC_ZONE_SEND = 0x79,
	NVC_ZONE_RECEIVE = 0x7a,
	NVC_ZONE_APPEND = 0x7d,
	NVC_KV_STORE = 0x01,
	NVC_KV_RETRIEVE = 0x02,
	NVC_KV_LIST = 0x06,
	NVC_KV_DELETE = 0x10,
	NVC_KV_EXIST = 0x14,
};

/**
 * enum nvc_flags - what else a command asks for
 * @NVC_FUA: Force Unit Access: what is written is on the medium before the command
 *	is due; and so is what is read, compared or verified
 * @NVC_DEALLOCATE: DEAC of Write Zeroes, AD of Dataset Management. Without it
 *	Dataset Management is a hint, and changes nothing
 * @NVC_ALL_ZONES: Select All of Zone Management Send
 * @NVC_ZRWA: Allocate ZRWA, of its Open Zone
 * @NVC_PARTIAL: Partial Report of Zone Management Receive
 */
enum nvc_flags {
	NVC_FUA = 1,
	NVC_DEALLOCATE = 2,
	NVC_ALL_ZONES = 4,
	NVC_ZRWA = 8,
	NVC_PARTIAL = 16,
};

/**
 * enum nvc_status - status field of a completion (type, code and DNR), without
 *	the phase bit: the shell stores it shifted left by one
 */
enum nvc_status {
	NVC_SC_SUCCESS = 0x0000,
	NVC_SC_INVALID_OPCODE = 0x4001,
	NVC_SC_INVALID_FIELD = 0x4002,
	NVC_SC_INVALID_NS = 0x400b,
	NVC_SC_WRITE_PROTECTED = 0x4020,
	NVC_SC_LBA_RANGE = 0x4080,
	NVC_SC_CAPACITY = 0x4081,
	NVC_SC_VALUE_SIZE = 0x4085,
	NVC_SC_KEY_SIZE = 0x4086,
	NVC_SC_KEY_UNKNOWN = 0x4087,
	NVC_SC_KEY_EXISTS = 0x4089,
	NVC_SC_READ_ONLY = 0x4182,
	NVC_SC_COPY_LIMIT = 0x4183,
	NVC_SC_OVERLAP = 0x4187,
	NVC_SC_ZONE_OPERATION = 0x41b6,
	NVC_SC_ZRWA_UNAVAILABLE = 0x41b7,
	NVC_SC_ZONE_BOUNDARY = 0x41b8,
	NVC_SC_ZONE_FULL = 0x41b9,
	NVC_SC_ZONE_READ_ONLY = 0x41ba,
	NVC_SC_ZONE_OFFLINE = 0x41bb,
	NVC_SC_ZONE_INVALID_WRITE = 0x41bc,
	NVC_SC_TOO_MANY_ACTIVE = 0x41bd,
	NVC_SC_TOO_MANY_OPEN = 0x41be,
	NVC_SC_ZONE_TRANSITION = 0x41bf,
	NVC_SC_READ_ERROR = 0x4281,
	NVC_SC_DEALLOCATED = 0x4287,
};

/**
 * enum nvc_fault - what a rule does to a command it hits
 * @NVC_FAIL: the command ends with the rule's status, and changes nothing
 * @NVC_DELAY: it is due later, by the rule's delay
 * @NVC_DROP: it is lost: not carried out, and never completed
 * @NVC_CORRUPT: one byte of its data is inverted: of a write where it is
 *	stored, of a read where the host gets it; of a value likewise. Hits
 *	nothing else
 * @NVC_FATAL: as @NVC_DROP, and the controller reports a fatal status
 * @NVC_READ_ONLY: from this command on its namespace takes no changes, until
 *	the rule is set or removed
 * @NVC_UNPLUG: as @NVC_DROP, and the link to the device is lost
 * @NVC_LOSES: those that lose the command
 */
enum nvc_fault {
	NVC_FAIL = 1,
	NVC_DELAY = 2,
	NVC_DROP = 4,
	NVC_CORRUPT = 8,
	NVC_FATAL = 16,
	NVC_READ_ONLY = 32,
	NVC_UNPLUG = 64,
	NVC_LOSES = 84,
};

/** enum nvc_any - what matches everything in a rule; zero does elsewhere */
enum nvc_any {
	NVC_ANY_OPCODE = 0xffff,
};

/**
 * struct nvc_rule - which commands go wrong, and how
 * @slba: first block of the range that a command must touch
 * @nlb: blocks of the range; 0 for any command. Commands with keys and
 *	I/O Management touch none
 * @delay: ns, of NVC_DELAY
 * @count: hits, after which the rule rests; 0 for no limit
 * @every: of the commands that match, which one may be hit: every nth; 1 for all
 * @chance: of hitting one of those, in millionths, up to NVC_MILLION
 * @nsid: namespace; 0 for any
 * @opcode: of the command; NVC_ANY_OPCODE for any
 * @qid: submission queue; 0 for any
 * @status: status field, of NVC_FAIL
 * @fault: one of enum nvc_fault
 * @ctrl: controller, counted from 1; 0 for any
 */
struct nvc_rule {
	u64 slba;
	u64 nlb;
	u64 delay;
	u32 count;
	u32 every;
	u32 chance;
	u32 nsid;
	u16 opcode;
	u16 qid;
	u16 status;
	u16 fault;
	u32 ctrl;
};

/**
 * enum nvc_data - what the shell does with the data of a command
 * @NVC_DATA_NONE: nothing: the command failed, or carries no data
 * @NVC_DATA_COPY: copy every block
 * @NVC_DATA_ZERO: the blocks read as zeros, whatever the memory holds
 * @NVC_DATA_MIXED: a read of both; ask nvc_run() for each stretch
 * @NVC_DATA_FRESH: as @NVC_DATA_COPY, for a Write or a Copy to blocks that read
 *	as zeros so far. Until the data are there, nobody else may enter the core:
 *	a read would take what lies in the memory for data
 * @NVC_DATA_REPORT: the host gets nvc_zone_report(), of a List nvc_kv_list(), or of
 *	I/O Management Receive what nvc_ruh() tells, made before anybody else enters the core
 * @NVC_DATA_EXTENSION: the host's data go to nvc_zone_extend(), likewise
 * @NVC_DATA_VALUE: of Store and Retrieve: the value lies where nvc_kv_next() says,
 *	and is copied before anybody else enters the core
 */
enum nvc_data {
	NVC_DATA_NONE = 0,
	NVC_DATA_COPY = 1,
	NVC_DATA_ZERO = 2,
	NVC_DATA_MIXED = 3,
	NVC_DATA_FRESH = 4,
	NVC_DATA_REPORT = 5,
	NVC_DATA_EXTENSION = 6,
	NVC_DATA_VALUE = 7,
};

/**
 * struct nvc_cmd - one I/O command, as it arrives
 * @now: time of arrival, ns
 * @slba: first logical block; of a Copy's destination; of the zone, for Zone Append;
 *	of Zone Management as the standard has it; the first eight bytes of a key
 * @nlb: logical blocks, counted from one; ranges for Dataset Management and Copy;
 *	0 for Zone Management; bytes of the value to Store, or of the host's buffer;
 *	placement identifiers of I/O Management Send
 * @nsid: namespace
 * @opcode: enum nvc_opcode, or anything else a host may send
 * @flags: enum nvc_flags
 * @qid: submission queue
 * @ctrl: which of the controllers it came to, from 0
 * @action: of Zone Management, enum nvc_zone_send or enum nvc_zone_receive; bytes
 *	of the key; of Write and Copy the directive type; of I/O Management the
 *	operation
 * @option: of Zone Management Receive, enum nvc_zone_option; of Store, enum
 *	nvc_kv_store
 * @key: the last eight bytes of the key: CDW 14 and 15; the first are CDW 2 and 3;
 *	of Write and Copy what the directive says, see nvc_fdp.h
 */
struct nvc_cmd {
	u64 now;
	u64 slba;
	u32 nlb;
	u32 nsid;
	u8 opcode;
	u8 flags;
	u16 qid;
	u16 ctrl;
	u8 action;
	u8 option;
	u64 key;
};

/**
 * struct nvc_range - one range of a Dataset Management or Copy command
 * @slba: first logical block; a placement identifier of I/O Management Send
 * @nlb: logical blocks; 0 is an empty range of Dataset Management
 */
struct nvc_range {
	u64 slba;
	u32 nlb;
};

/**
 * struct nvc_decision - what becomes of a command
 * @seq: number of this input, from 1, without gaps
 * @target: when it is due, ns; not before it arrived
 * @status: enum nvc_status
 * @data: enum nvc_data
 * @fault: what rules do to it, bits of enum nvc_fault
 * @unused: 0
 * @corrupt: of NVC_CORRUPT, the byte of its data to invert
 * @unused2: 0
 * @result: of Zone Append, where the data go: the first logical block; of Retrieve,
 *	bytes of the whole value; else 0
 */
struct nvc_decision {
	u64 seq;
	u64 target;
	u16 status;
	u16 data;
	u16 fault;
	u16 unused;
	u32 corrupt;
	u32 unused2;
	u64 result;
};

/**
 * struct nvc_counters - totals since nvc_init(); failed commands count only
 *	as @errors, lost ones not at all but as @faults
 * @reads: Read commands
 * @writes: Write commands
 * @flushes: Flush commands
 * @zeroes: Write Zeroes commands
 * @dsms: Dataset Management commands
 * @uncorrectables: Write Uncorrectable commands
 * @compares: Compare commands, whatever was found
 * @verifies: Verify commands
 * @copies: Copy commands
 * @errors: commands with a status other than success
 * @faults: commands that a rule did something to
 * @blocks_read: logical blocks of @reads
 * @blocks_written: logical blocks of @writes and @appends
 * @blocks_zeroed: logical blocks of @zeroes
 * @blocks_deallocated: logical blocks of @dsms, twice where ranges overlap
 * @blocks_copied: logical blocks of @copies
 * @bytes_read: what hosts and the controller itself read: Read, Compare, Verify,
 *	Retrieve
 * @bytes_written: what hosts wrote: Write, Zone Append, Store
 * @media_errors: commands that met blocks made unreadable
 * @busy: ns for which some command was not yet due
 * @appends: Zone Append commands
 * @zone_sends: Zone Management Send commands
 * @zone_receives: Zone Management Receive commands
 * @zone_changes: changes of a zone by the controller that its list tells, see
 *	nvc_zone_changes()
 * @stores: Store commands
 * @retrieves: Retrieve commands
 * @deletes: Delete commands, whether there was something to delete or not
 * @lists: List commands
 * @exists: Exist commands
 * @io_sends: I/O Management Send commands
 * @io_receives: I/O Management Receive commands
 */
struct nvc_counters {
	u64 reads;
	u64 writes;
	u64 flushes;
	u64 zeroes;
	u64 dsms;
	u64 uncorrectables;
	u64 compares;
	u64 verifies;
	u64 copies;
	u64 errors;
	u64 faults;
	u64 blocks_read;
	u64 blocks_written;
	u64 blocks_zeroed;
	u64 blocks_deallocated;
	u64 blocks_copied;
	u64 bytes_read;
	u64 bytes_written;
	u64 media_errors;
	u64 busy;
	u64 appends;
	u64 zone_sends;
	u64 zone_receives;
	u64 zone_changes;
	u64 stores;
	u64 retrieves;
	u64 deletes;
	u64 lists;
	u64 exists;
	u64 io_sends;
	u64 io_receives;
};

/**
 * enum nvc_ns_flags - a namespace's switches
 * @NVC_NS_PROTECTED: takes no changes
 * @NVC_NS_DULBE: reading what was never written, or deallocated, is an error
 * @NVC_NS_DAMAGED: the core's: it may hold blocks that cannot be read
 * @NVC_NS_ZONED: the core's: it belongs to the Zoned Namespace command set
 * @NVC_NS_KEYS: the core's: it belongs to the Key Value command set
 * @NVC_NS_STRICT_DELETE: EDNEK: deleting what does not exist is an error. Of these
 *	namespaces alone, which have no @NVC_NS_DULBE
 */
enum nvc_ns_flags {
	NVC_NS_PROTECTED = 1,
	NVC_NS_DULBE = 2,
	NVC_NS_DAMAGED = 4,
	NVC_NS_ZONED = 8,
	NVC_NS_KEYS = 16,
	NVC_NS_STRICT_DELETE = 32,
};

/**
 * struct nvc_ns - a namespace
 * @blocks: capacity in logical blocks; 0: there is no such namespace
 * @start: where it begins in the medium, bytes, a multiple of 1 << NVC_NS_SHIFT
 * @bytes: what it was made with, for all formats
 * @block_shift: log2 of a logical block in bytes: 9 or 12
 * @attached: controllers that have it, as bits
 * @flags: enum nvc_ns_flags
 */
struct nvc_ns {
	u64 blocks;
	u64 start;
	u64 bytes;
	u32 block_shift;
	u32 attached;
	u32 flags;
};

/**
 * enum nvc_ns_op - what may change about namespaces
 * @NVC_NS_CREATE: make @nsid of @blocks of @block_shift, with @value as
 *	nvc_ns.attached; not on NVC_ZNS and NVC_KV, whose namespaces are fixed
 * @NVC_NS_DELETE: delete @nsid, attached or not; not on these two
 * @NVC_NS_FORMAT: format @nsid to @block_shift; its data are gone
 * @NVC_NS_ATTACH: @value becomes nvc_ns.attached of @nsid
 * @NVC_NS_SWITCH: @value becomes nvc_ns.flags of @nsid, but for the core's
 * @NVC_NS_EVENTS: @value becomes enum nvc_fdp_tell of placement handle @blocks
 */
enum nvc_ns_op {
	NVC_NS_CREATE = 1,
	NVC_NS_DELETE = 2,
	NVC_NS_FORMAT = 3,
	NVC_NS_ATTACH = 4,
	NVC_NS_SWITCH = 5,
	NVC_NS_EVENTS = 6,
};

/**
 * struct nvc_ns_change - a change of a namespace
 * @blocks: of NVC_NS_CREATE; of NVC_NS_EVENTS the placement handle
 * @op: enum nvc_ns_op
 * @nsid: the namespace, 1 to NVC_MAX_NS
 * @block_shift: of NVC_NS_CREATE and NVC_NS_FORMAT
 * @value: of all but NVC_NS_DELETE and NVC_NS_FORMAT
 */
struct nvc_ns_change {
	u64 blocks;
	u32 op;
	u32 nsid;
	u32 block_shift;
	u32 value;
};

/**
 * nvc_check() - can there be such a device
 * @config: the configuration
 *
 * Return: 0, -EINVAL (a field means nothing), or -ERANGE (a field is beyond
 * enum nvc_limit).
 */
int nvc_check(const struct nvc_config *config);

/**
 * nvc_size() - memory a device needs
 * @config: the configuration
 *
 * Return: bytes, or 0 if nvc_check() refuses.
 */
size_t nvc_size(const struct nvc_config *config);

/**
 * nvc_init() - make a device that was never written to
 * @c: nvc_size() bytes, aligned to 8; need not be zeroed, and is the caller's
 *	to free
 * @config: the configuration; copied
 *
 * Return: as nvc_check().
 */
int nvc_init(struct nvc *c, const struct nvc_config *config);

/**
 * nvc_submit() - decide one command
 * @c: the device
 * @cmd: the command
 * @ranges: @cmd->nlb ranges if this is Dataset Management, Copy or I/O Management
 *	Send, else not used
 * @decision: the answer, whole
 *
 * A command that fails changes nothing but the counters.
 */
void nvc_submit(struct nvc *c, const struct nvc_cmd *cmd,
		const struct nvc_range *ranges, struct nvc_decision *decision);

/**
 * nvc_run() - the stretch of blocks that all were written, or all not
 * @c: the device
 * @nsid: a namespace that exists
 * @slba: first block, inside the namespace
 * @nlb: blocks to look at, at least one, all inside the namespace
 * @written: true: copy them; false: they read as zeros
 *
 * Return: blocks from @slba that are alike, 1 to @nlb.
 */
u32 nvc_run(const struct nvc *c, u32 nsid, u64 slba, u32 nlb, bool *written);

/**
 * nvc_stretch() - the same of the medium, whatever namespaces there are
 * @c: the device
 * @sector: first of 512 bytes, inside the medium
 * @count: sectors to look at, at least one, all inside the medium
 * @written: true: they hold data; false: they read as zeros
 *
 * Return: sectors from @sector that are alike, 1 to @count.
 */
u64 nvc_stretch(const struct nvc *c, u64 sector, u64 count, bool *written);

/**
 * nvc_readable() - how far a namespace can be read
 * @c: the device
 * @nsid: a namespace that exists
 * @slba: first block, inside the namespace
 * @nlb: blocks to look at, at least one, all inside the namespace
 *
 * Return: blocks from @slba before one made unreadable, 0 to @nlb.
 */
u32 nvc_readable(const struct nvc *c, u32 nsid, u64 slba, u32 nlb);

/**
 * nvc_ns_get() - look at a namespace
 * @c: the device
 * @nsid: any number
 *
 * Return: the namespace, good until it is changed, or NULL if there is none.
 */
const struct nvc_ns *nvc_ns_get(const struct nvc *c, u32 nsid);

/**
 * nvc_ns_free() - room for namespaces
 * @c: the device
 * @largest: bytes of the largest that can be made, if not NULL
 *
 * Return: bytes that belong to no namespace.
 */
u64 nvc_ns_free(const struct nvc *c, u64 *largest);

/**
 * nvc_ns_change() - make, delete or change a namespace
 * @c: the device
 * @now: ns
 * @change: what
 *
 * Takes a sequence number, unless refused. Copies of commands decided before
 * must have ended: the blocks may soon be another namespace's.
 *
 * Return: 0, -EINVAL (a field means nothing), -ENXIO (no such namespace),
 * -EEXIST (there is one of that number), or -ENOSPC (no room in one piece).
 */
int nvc_ns_change(struct nvc *c, u64 now, const struct nvc_ns_change *change);

/**
 * nvc_set_cache() - enable or disable the volatile write cache for a controller
 * @c: the device
 * @now: ns
 * @ctrl: the controller, from 0
 * @on: enable it; means nothing where nvc_config.vwc is 0
 *
 * Each begins with it enabled; what others wrote to it goes to the medium too when
 * one disables it. Takes a sequence number.
 */
void nvc_set_cache(struct nvc *c, u64 now, u32 ctrl, bool on);

/**
 * nvc_set_timing() - change the speed of a device in use
 * @c: the device
 * @now: ns
 * @timing: for every later command; what was promised stays promised
 *
 * Takes a sequence number, unless refused.
 *
 * Return: as nvc_check().
 */
int nvc_set_timing(struct nvc *c, u64 now, const struct nvc_timing *timing);

/**
 * nvc_reset() - the controller was reset: the medium drops its work
 * @c: the device
 * @now: ns
 *
 * Content and counters stay. Takes a sequence number.
 */
void nvc_reset(struct nvc *c, u64 now);

/**
 * nvc_check_rule() - can there be such a rule
 * @rule: the rule
 *
 * Return: 0, -EINVAL (a field means nothing), or -ERANGE (it is too large).
 */
int nvc_check_rule(const struct nvc_rule *rule);

/**
 * nvc_set_rule() - have commands go wrong, or no longer
 * @c: the device
 * @now: ns
 * @slot: of the rule, below NVC_MAX_RULES. All rules that match a command have
 *	their effect; of several statuses the lowest slot's counts
 * @rule: the rule, which begins anew, or NULL to have none there; its hits can
 *	still be read then
 *
 * Takes a sequence number, unless refused.
 *
 * Return: as nvc_check_rule(), and -EINVAL for another slot.
 */
int nvc_set_rule(struct nvc *c, u64 now, u32 slot, const struct nvc_rule *rule);

/**
 * nvc_rule_hits() - how many commands a rule has hit
 * @c: the device
 * @slot: of the rule
 *
 * Return: since the rule was set; 0 if there never was one.
 */
u64 nvc_rule_hits(const struct nvc *c, u32 slot);

/**
 * nvc_seq() - number of the latest input
 * @c: the device
 *
 * Return: 0 before the first.
 */
u64 nvc_seq(const struct nvc *c);

/**
 * nvc_count() - read the counters
 * @c: the device
 * @counters: a copy
 */
void nvc_count(const struct nvc *c, struct nvc_counters *counters);

#endif
