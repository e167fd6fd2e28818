/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace of a device: every input of the core, in records of one size, and
 * how they lie in memory that a reader maps. Sorted by sequence number, they
 * are what the core decided on, and a core of the same configuration decides
 * the same again. Python reads this file too: keep it to declarations.
 *
 * The mapping is a page of struct nvc_trace_map, then for each ring a page of
 * struct nvc_trace_ring and its records. One ring per worker, and a last one
 * for what no worker does. Each has one writer, the kernel, and one reader.
 */
#ifndef NVC_TRACE_H
#define NVC_TRACE_H

#include "nvc.h"

/**
 * enum nvc_trace_size - of what is mapped
 * @NVC_TRACE_VERSION: of this format
 * @NVC_TRACE_PAGE: bytes of a header
 * @NVC_TRACE_RECORD: bytes of a record
 * @NVC_TRACE_RANGES_EACH: ranges in a record of them
 * @NVC_TRACE_VALUES_EACH: parameters in a record of them
 * @NVC_TRACE_MIN_ENTRIES: records of the smallest ring
 * @NVC_TRACE_MAX_ENTRIES: records of the largest ring
 */
enum nvc_trace_size {
	NVC_TRACE_VERSION = 3,
	NVC_TRACE_PAGE = 4096,
	NVC_TRACE_RECORD = 128,
	NVC_TRACE_RANGES_EACH = 7,
	NVC_TRACE_VALUES_EACH = 24,
	NVC_TRACE_MIN_ENTRIES = 256,
	NVC_TRACE_MAX_ENTRIES = 1048576,
};

/**
 * enum nvc_trace_kind - of a record
 * @NVC_TRACE_COMMAND: an I/O command
 * @NVC_TRACE_RANGES: ranges of the Dataset Management or Copy command of the same seq
 * @NVC_TRACE_CONFIG: what the device was made as; seq is 0
 * @NVC_TRACE_TIMING: the speed was changed
 * @NVC_TRACE_RESET: the controller was reset
 * @NVC_TRACE_RULE: a fault rule was set or removed
 * @NVC_TRACE_NS: a namespace was made, deleted or changed
 * @NVC_TRACE_CACHE: the volatile write cache was enabled or disabled for a controller
 * @NVC_TRACE_MODEL: some parameters of the medium: with seq 0 of NVC_TRACE_CONFIG,
 *	else of a change, whose records come one after the other
 * @NVC_TRACE_CUT: the power went
 * @NVC_TRACE_WAKE: the power is on again after it was switched off in order
 * @NVC_TRACE_STATE: what was before is void: it goes on from a state made elsewhere
 */
enum nvc_trace_kind {
	NVC_TRACE_COMMAND = 1,
	NVC_TRACE_RANGES = 2,
	NVC_TRACE_CONFIG = 3,
	NVC_TRACE_TIMING = 4,
	NVC_TRACE_RESET = 5,
	NVC_TRACE_RULE = 6,
	NVC_TRACE_NS = 7,
	NVC_TRACE_CACHE = 8,
	NVC_TRACE_MODEL = 9,
	NVC_TRACE_CUT = 10,
	NVC_TRACE_WAKE = 11,
	NVC_TRACE_STATE = 12,
};

/** enum nvc_trace_posted - instead of a status that the host got */
enum nvc_trace_posted {
	NVC_TRACE_NEVER = 0xffff,
};

/**
 * struct nvc_trace_command - one I/O command. Times are CLOCK_MONOTONIC, ns; 0
 *	where there was none
 * @seq: the core's number of it, or 0 if it failed before the core saw it
 * @kind: NVC_TRACE_COMMAND
 * @qid: submission queue
 * @cid: command identifier
 * @status: what the core decided
 * @fetched: when it was taken out of the queue
 * @decided: when it entered the core: nvc_cmd.now
 * @target: when the core wants it done
 * @copied: when its data were copied
 * @completed: when its completion was written
 * @interrupted: when the interrupt was raised that announced it, maybe with others
 * @slba: first logical block, or as nvc_cmd.slba
 * @nlb: logical blocks, ranges, or as nvc_cmd.nlb
 * @nsid: namespace
 * @opcode: of the command
 * @flags: enum nvc_flags
 * @data: enum nvc_data
 * @posted: the status that the host got, or NVC_TRACE_NEVER
 * @fault: bits of enum nvc_fault
 * @corrupt: byte of the data that was inverted
 * @ctrl: which of the controllers it came to, from 0
 * @action: nvc_cmd.action
 * @option: nvc_cmd.option
 * @result: nvc_decision.result
 * @key: nvc_cmd.key
 */
struct nvc_trace_command {
	u64 seq;
	u16 kind;
	u16 qid;
	u16 cid;
	u16 status;
	u64 fetched;
	u64 decided;
	u64 target;
	u64 copied;
	u64 completed;
	u64 interrupted;
	u64 slba;
	u32 nlb;
	u32 nsid;
	u8 opcode;
	u8 flags;
	u16 data;
	u16 posted;
	u16 fault;
	u32 corrupt;
	u16 ctrl;
	u8 action;
	u8 option;
	u64 result;
	u64 key;
};

/**
 * struct nvc_trace_ranges - some ranges of a command
 * @seq: of the command
 * @kind: NVC_TRACE_RANGES
 * @count: ranges here
 * @first: number of the first of them, from 0
 * @ranges: the ranges
 */
struct nvc_trace_ranges {
	u64 seq;
	u16 kind;
	u16 count;
	u32 first;
	struct nvc_range ranges[7];
};

/**
 * struct nvc_trace_input - what all other inputs have in common
 * @seq: number of the input; of NVC_TRACE_CONFIG 0; of NVC_TRACE_STATE that of the
 *	latest one in the state
 * @kind: enum nvc_trace_kind
 * @slot: of NVC_TRACE_RULE; of NVC_TRACE_CACHE the controller, from 0
 * @set: of NVC_TRACE_RULE: 1 if there is a rule from now on; of NVC_TRACE_CACHE:
 *	1 if it is enabled
 * @now: ns, as the core was told
 */
struct nvc_trace_input {
	u64 seq;
	u16 kind;
	u16 slot;
	u32 set;
	u64 now;
};

/**
 * struct nvc_trace_config - NVC_TRACE_CONFIG: struct nvc_config, but for its model
 * @input: seq, kind, now
 * @blocks: as there
 * @seed: as there
 * @kind: as there
 * @block_shift: as there
 * @vwc: as there
 * @timing: as there
 */
struct nvc_trace_config {
	struct nvc_trace_input input;
	u64 blocks;
	u64 seed;
	u32 kind;
	u32 block_shift;
	u32 vwc;
	struct nvc_timing timing;
};

/**
 * struct nvc_trace_timing - NVC_TRACE_TIMING
 * @input: seq, kind, now
 * @timing: the new timing
 */
struct nvc_trace_timing {
	struct nvc_trace_input input;
	struct nvc_timing timing;
};

/**
 * struct nvc_trace_rule - NVC_TRACE_RULE
 * @input: seq, kind, slot, set, now
 * @rule: the rule, if @input.set
 */
struct nvc_trace_rule {
	struct nvc_trace_input input;
	struct nvc_rule rule;
};

/**
 * struct nvc_trace_ns - NVC_TRACE_NS
 * @input: seq, kind, now
 * @change: the change
 */
struct nvc_trace_ns {
	struct nvc_trace_input input;
	struct nvc_ns_change change;
};

/**
 * struct nvc_trace_model - NVC_TRACE_MODEL
 * @input: seq, kind, now; slot is the number of the first parameter, set how many
 * @values: the parameters, in the order of struct nvc_model
 */
struct nvc_trace_model {
	struct nvc_trace_input input;
	u32 values[24];
};

/**
 * struct nvc_trace_state - NVC_TRACE_STATE
 * @input: seq, kind, now
 * @size: nvc_snapshot.size of the state
 * @checksum: nvc_snapshot.checksum of it
 */
struct nvc_trace_state {
	struct nvc_trace_input input;
	u64 size;
	u64 checksum;
};

/**
 * struct nvc_trace_map - begins the mapping
 * @version: NVC_TRACE_VERSION
 * @record: bytes of a record
 * @rings: how many
 * @entries: records of each ring, a power of two
 * @stride: bytes from a ring's page to the next ring's
 * @ended: 1 once the power is off: nothing more will come
 */
struct nvc_trace_map {
	u32 version;
	u32 record;
	u32 rings;
	u32 entries;
	u64 stride;
	u64 ended;
};

/**
 * struct nvc_trace_ring - begins a ring. Record n is at n modulo the entries
 * @tail: records written so far; the kernel's
 * @overruns: records not written for want of room; the kernel's
 * @stalls: times that fetching waited for the reader; the kernel's
 * @unused: the rest of the kernel's cache line
 * @head: records read so far; the reader's
 */
struct nvc_trace_ring {
	u64 tail;
	u64 overruns;
	u64 stalls;
	u64 unused[5];
	u64 head;
};

#endif
