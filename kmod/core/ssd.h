/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a conventional SSD.
 *
 * Words used here: a *unit* is 4 KiB, the grain of the map. A *lane* is what
 * programs at one time: a die, or a plane of it. A *program* writes a *word*
 * of units on one lane. A *line* (superblock) is the same block of every lane,
 * filled word by word across the lanes.
 */
#ifndef NVC_CORE_SSD_H
#define NVC_CORE_SSD_H

#include "internal.h"
#include "nvc_fdp.h"
#include "timeline.h"

#define SSD_NONE	NVC_UNMAPPED
#define SSD_UNIT_SHIFT	12
#define SSD_UNIT_SECTORS (1U << (SSD_UNIT_SHIFT - NVC_MIN_BLOCK_SHIFT))
/* Lines that must not hold data: open ones, two for collection, and slack; more with handles. */
#define SSD_SPARE_LINES	8
/* Free lines that only collection may take. */
#define SSD_RESERVE	2
#define SSD_LEVELS	4
/* Units of a page: 32 of each of 8 planes. */
#define SSD_MAX_PAGE	256
/* Units that one page of the map says of where they lie: 4 bytes each, in 4 KiB. */
#define SSD_MAP_SHIFT	10
#define SSD_NEVER	(~0ULL)
#define SSD_MS		1000000ULL
/* Of ns for a byte. */
#define SSD_COST_SHIFT	24

/*
 * With handles hosts write through SSD_PLACED + handle, and what collection keeps
 * apart of that goes to SSD_KEPT + handle; else to SSD_GC. Pages of the map have
 * lines of their own.
 */
enum ssd_stream_id {
	SSD_COLD, SSD_HOT, SSD_GC, SSD_MAP, SSD_PLACED,
	SSD_KEPT = SSD_PLACED + NVC_MAX_RUHS,
	SSD_STREAMS = SSD_KEPT + NVC_MAX_RUHS,
};

enum ssd_line_state { SSD_FREE, SSD_OPEN, SSD_CLOSED, SSD_RETIRED };
enum ssd_policy { SSD_GREEDY, SSD_COST_BENEFIT, SSD_FIFO, SSD_CHOICE, SSD_RANDOM, SSD_POLICIES };

/**
 * struct ssd_shape - all sizes, from the configuration
 * @units: logical units
 * @lines: superblocks
 * @dies: on all channels
 * @lanes: @dies, or their planes if these work one by one
 * @rows: programs of a block
 * @words: programs of a line
 * @per_page: units of a page, across the planes that work together
 * @per_program: units of a program
 * @per_line: units of a line
 * @map_words: 64-bit words of a line's map of valid units
 * @lane_words: 64-bit words of a line's map of bad blocks
 * @slots: programs that the buffer holds
 * @undos: entries of the undo log, 0 for none
 * @together: planes of a lane
 * @spare_lines: that must not hold data
 * @reserve: of these, free ones that only collection may take
 * @handles: reclaim unit handles
 * @map_pages: of the map, where not all of it is in memory; else 0. Behind the
 *	logical units they are units as well, in @l2p, @p2l and on lines
 * @map_lines: set aside for them
 * @frames: pages of the map that memory holds
 */
struct ssd_shape {
	u32 units;
	u32 lines;
	u32 dies;
	u32 lanes;
	u32 rows;
	u32 words;
	u32 per_page;
	u32 per_program;
	u32 per_line;
	u32 map_words;
	u32 lane_words;
	u32 slots;
	u32 undos;
	u32 together;
	u32 spare_lines;
	u32 reserve;
	u32 handles;
	u32 map_pages;
	u32 map_lines;
	u32 frames;
};

/**
 * struct ssd_die - a die's time
 * @busy: all its work is done
 * @reads: its reads that interrupt other work are done
 * @background: work for its spare time is done
 * @channel: that it is on
 */
struct ssd_die {
	u64 busy;
	u64 reads;
	u64 background;
	u32 channel;
};

/**
 * struct ssd_line - a superblock
 * @valid: units that hold current data
 * @next: neighbour in its list
 * @prev: neighbour in its list
 * @key: list it is in
 * @erases: so far
 * @good: blocks that are not bad
 * @state: enum ssd_line_state
 * @stream: that filled it, or fills it
 * @reads: of its pages since it was begun
 * @opened: ns of the drive's life, see struct ssd, when it was begun
 * @closed: value of ssd.closings when it was closed
 * @programmed: ns, its latest program is done
 */
struct ssd_line {
	u32 valid;
	u32 next;
	u32 prev;
	u32 key;
	u32 erases;
	u32 good;
	u32 state;
	u32 stream;
	u32 reads;
	u64 opened;
	u64 closed;
	u64 programmed;
};

/**
 * struct ssd_stream - where writes of one sort go
 * @line: open line, or SSD_NONE
 * @word: the word being filled
 * @fill: units of it
 * @slot: of the buffer, for host streams
 * @ready: ns, the last of its data is there
 */
struct ssd_stream {
	u32 line;
	u32 word;
	u32 fill;
	u32 slot;
	u64 ready;
};

/**
 * struct ssd_slot - a place in the write buffer for one program
 * @word: number of the program it was taken for
 * @done: ns, that program is done; SSD_NEVER before it was started
 * @base: first physical unit of it
 */
struct ssd_slot {
	u64 word;
	u64 done;
	u32 base;
};

/**
 * struct ssd_undo - a unit written that may not be on the medium yet
 * @seq: number of the write; 0 if there is nothing to undo
 * @word: program it is part of
 * @unit: logical
 * @place: physical
 * @old: where it was before; SSD_NONE if nowhere, or erased since
 * @gone: undone, but what was at @old has been erased since
 * @slot: of @word
 * @mask: sectors of the unit that read as data before
 * @first: first sector written, in the unit
 * @count: sectors written
 * @whole: of a write that must not be torn: number of the part, from 1; else 0
 * @home: stream that collection copies what was at @old to
 */
struct ssd_undo {
	u64 seq;
	u64 word;
	u32 unit;
	u32 place;
	u32 old;
	u32 slot;
	u8 gone;
	u8 mask;
	u8 first;
	u8 count;
	u8 whole;
	u8 home;
};

/**
 * struct ssd_frame - memory for a page of the map
 * @page: which, or SSD_NONE
 * @used: since the hand passed
 * @dirty: the medium has it otherwise
 * @there: ns, it has been read
 */
struct ssd_frame {
	u32 page;
	u16 used;
	u16 dirty;
	u64 there;
};

/**
 * struct ssd_arrays - the parts whose size depends on the configuration
 * @l2p: physical unit of a logical one, or SSD_NONE
 * @p2l: the reverse, where valid
 * @valid: a bit for each physical unit
 * @bad: a bit for each block
 * @lines: superblocks
 * @heads: first line of each list, or SSD_NONE
 * @filled: which of @heads have one, as a tree of bits
 * @dies: time of each
 * @channels: time of each
 * @slots: the write buffer
 * @undo: a ring
 * @frames: pages of the map in memory
 * @frame_of: where each of them is there, or SSD_NONE
 */
struct ssd_arrays {
	u32 *l2p;
	u32 *p2l;
	u64 *valid;
	u64 *bad;
	struct ssd_line *lines;
	u32 *heads;
	u64 *filled[SSD_LEVELS];
	struct ssd_die *dies;
	struct ssd_timeline *channels;
	struct ssd_slot *slots;
	struct ssd_undo *undo;
	struct ssd_frame *frames;
	u32 *frame_of;
};

/**
 * struct ssd_gc - garbage collection
 * @victim: line in work, or SSD_NONE
 * @word: next word of it to look at
 * @wear_next: line that wear levelling looks at next
 * @clock: ns, up to which idle time was used
 * @copied: ns, the latest copy is programmed
 * @seen: ns, the latest that collection read is there
 * @wear: cold line to be collected next, or SSD_NONE
 * @refresh: the line that was last taken to be refreshed, or SSD_NONE
 * @pace: ns, what was moved last to refresh a line is programmed
 * @due: ns, no line needs to be refreshed before
 * @moved: units of the victim that are to be told of
 * @first: the first of them
 */
struct ssd_gc {
	u32 victim;
	u32 word;
	u32 wear_next;
	u32 wear;
	u32 moved;
	u32 first;
	u32 refresh;
	u64 pace;
	u64 due;
	u64 clock;
	u64 copied;
	u64 seen;
};

/**
 * struct ssd_placement - reclaim unit handles, and what was noted of them
 * @ruhs: the handles; @room_units is not kept up to date
 * @events: the latest, by whether they are of the controller
 * @noted: so far, of either
 * @stream: that the command in hand writes to
 */
struct ssd_placement {
	struct nvc_ruh ruhs[NVC_MAX_RUHS];
	struct nvc_fdp_event events[2][NVC_FDP_EVENTS];
	u64 noted[2];
	u64 stream;
};

/**
 * struct ssd - state of the kind
 * @shape: sizes
 * @a: arrays
 * @sense: ns, by type of page
 * @program: ns, by type of page
 * @channel_cost: ns for a byte, times 2^24
 * @link_cost: the same for PCIe
 * @link_in: PCIe to the device
 * @link_out: PCIe to the host
 * @streams: open lines
 * @gc: collection
 * @placement: of hosts' data
 * @stats: counters; what can be derived is zero
 * @free_head: first line of the free list
 * @free_lines: of it
 * @closings: lines closed so far
 * @began: of them, before the command in hand
 * @slot: next of the buffer
 * @map_lines: with pages of the map, or for them
 * @hand: frame that is looked at next for its page to be given up
 * @words: programs of the host so far, those being filled included
 * @undo_at: place of the next entry of the log
 * @time: ns, nothing will be asked for earlier: when the latest command came, or
 *	in the idle time after it
 * @epoch: ns, what a time is short of the drive's life, whose clock is never set
 * @durable: ns, all host programs started are done
 * @latest: the same, since the command began
 * @random: source of chance
 * @sweep_from: units whose blocks were deallocated, not yet unmapped: from
 * @sweep_to: up to here
 */
struct ssd {
	struct ssd_shape shape;
	struct ssd_arrays a;
	u32 sense[4];
	u32 program[4];
	u64 channel_cost;
	u64 link_cost;
	struct ssd_timeline link_in;
	struct ssd_timeline link_out;
	struct ssd_stream streams[SSD_STREAMS];
	struct ssd_gc gc;
	struct ssd_placement placement;
	struct nvc_ssd_stats stats;
	u32 free_head;
	u32 free_lines;
	u64 closings;
	u64 began;
	u64 words;
	u32 map_lines;
	u32 hand;
	u32 slot;
	u32 undo_at;
	u64 time;
	u64 epoch;
	u64 durable;
	u64 latest;
	u64 random;
	u32 sweep_from;
	u32 sweep_to;
};

static inline struct ssd *ssd_of(const struct nvc *c)
{
	return c->state;
}

/* The handle that data of a stream were written through, or SSD_NONE. */
static inline u32 ssd_handle(u32 id)
{
	return id < SSD_PLACED ? SSD_NONE : (id - SSD_PLACED) % NVC_MAX_RUHS;
}

/* Streams that hosts write to. */
static inline bool ssd_of_host(u32 id)
{
	return id != SSD_GC && id != SSD_MAP && id < SSD_KEPT;
}

static inline u32 ssd_line_of(const struct ssd *s, u32 place)
{
	return place / s->shape.per_line;
}

static inline bool ssd_bad(const struct ssd *s, u32 line, u32 lane)
{
	return s->a.bad[(size_t)line * s->shape.lane_words + lane / 64] >> (lane % 64) & 1;
}

static inline u64 *ssd_valid_map(const struct ssd *s, u32 line)
{
	return s->a.valid + (size_t)line * s->shape.map_words;
}

static inline bool ssd_in_list(const struct ssd *s, u32 line)
{
	const struct ssd_line *l = &s->a.lines[line];

	return l->state == SSD_CLOSED && l->stream != SSD_MAP && s->gc.victim != line;
}

/* Free lines that are not set aside for the map. */
static inline u32 ssd_free_lines(const struct ssd *s)
{
	u32 aside = s->shape.map_lines - nvc_min(s->map_lines, s->shape.map_lines);

	return s->free_lines - nvc_min(aside, s->free_lines);
}

/* All that lies on lines: logical units, and pages of the map. */
static inline u32 ssd_all_units(const struct ssd_shape *shape)
{
	return shape->units + shape->map_pages;
}

/* The sectors of a unit that read as data, one bit each. */
static inline u8 nvc_unit_mask(const struct nvc *c, u32 unit)
{
	return nvc_map_bits(&c->written, (u64)unit * SSD_UNIT_SECTORS);
}

bool nvc_buffer_finds(const struct nvc *c, u32 place);
void nvc_ssd_catch_up(struct nvc *c);

static inline u64 ssd_link_time(const struct ssd *s, u64 bytes)
{
	return bytes * s->link_cost >> SSD_COST_SHIFT;
}

/* Whether a deallocation that is not swept yet covers all of @unit. */
static inline bool ssd_swept(const struct nvc *c, u32 unit)
{
	const struct ssd *s = ssd_of(c);

	return unit - s->sweep_from < s->sweep_to - s->sweep_from && !nvc_unit_mask(c, unit);
}

/* A page of @line is read. */
static inline void ssd_disturb(struct nvc *c, u32 line)
{
	if (++ssd_of(c)->a.lines[line].reads == c->config.model.read_disturb)
		ssd_of(c)->gc.due = 0;
}

/* Whether the unit at @place of @line is still in the controller's memory. */
static inline bool ssd_buffered(const struct nvc *c, u32 line, u32 place)
{
	const struct ssd_line *l = &ssd_of(c)->a.lines[line];

	return (l->programmed > c->now || l->state == SSD_OPEN) && nvc_buffer_finds(c, place);
}

/* A command begins: what happened before it, and from when on it may ask for something. */
static inline void ssd_begin(struct nvc *c)
{
	struct ssd *s = ssd_of(c);

	if (c->config.model.gc_background || s->sweep_from < s->sweep_to || c->now >= s->gc.due)
		nvc_ssd_catch_up(c);
	s->time = c->now;
}

/* shape.c */
int nvc_shape(const struct nvc_config *config, struct ssd_shape *shape);
size_t nvc_ssd_layout(const struct ssd_shape *shape, u32 channels, u8 *memory,
		      struct ssd_arrays *a);

/* nand.c */
void nvc_nand_timing(struct nvc *c);
u64 nvc_nand_read(struct nvc *c, u32 at, u32 units, u64 ready, bool host);
u64 nvc_nand_program(struct nvc *c, u32 word, u64 ready);
void nvc_nand_erase(struct nvc *c, u32 line, u64 ready);
u64 nvc_die_read(struct nvc *c, u32 die, u32 page, u32 units, u64 ready);
u64 nvc_die_program(struct nvc *c, u32 die, u32 page, u64 ready);
u64 nvc_die_later(struct nvc *c, u32 die, u64 ready, u64 time);

/* line.c */
void nvc_line_reset(struct ssd *s);
void nvc_line_put(struct ssd *s, u32 line, u32 key);
void nvc_line_take(struct ssd *s, u32 line);
u32 nvc_line_room(const struct ssd *s, u32 line);
u32 nvc_line_gain(const struct ssd *s, u32 line);
u32 nvc_line_key(const struct nvc *c, u32 line);
u32 nvc_line_first(const struct ssd *s);
u32 nvc_line_alloc(struct ssd *s);
void nvc_line_free(struct ssd *s, u32 line);
void nvc_line_plant(struct ssd *s);
u64 nvc_line_least(const struct ssd *s);
void nvc_line_reserves(struct ssd *s);
void nvc_line_mark_bad(struct ssd *s, u32 line, u32 lane);

/* units.c */
void nvc_unit_drop(struct nvc *c, u32 place);
void nvc_unit_place(struct nvc *c, u32 unit, u32 place);
void nvc_unit_unmap(struct nvc *c, u32 unit);
void nvc_unit_forget(struct nvc *c, u32 unit, u64 ready);
void nvc_unit_lose(struct nvc *c, u32 unit);
void nvc_sweep_add(struct nvc *c, struct nvc_extent at);
void nvc_sweep(struct nvc *c, u32 budget);

/* stream.c */
u32 nvc_random(struct ssd *s, u32 below);
u32 nvc_stream_word(struct nvc *c, u32 id);
void nvc_stream_append(struct nvc *c, u32 id, u32 unit, u64 ready);
bool nvc_stream_write(struct nvc *c, u32 id, u32 unit, u64 ready);
void nvc_stream_pad(struct nvc *c, u32 id);
void nvc_stream_leave(struct nvc *c, u32 id);
u32 nvc_stream_room(const struct ssd *s, u32 id);

/* victim.c */
bool nvc_movable(const struct ssd *s, u32 line);
u32 nvc_victim(struct nvc *c);

/* mapcache.c */
u64 nvc_mapping_read(struct nvc *c, u32 unit, u32 last, u64 ready);
u64 nvc_mapping_write(struct nvc *c, u32 unit, u64 ready);
u64 nvc_mapping_change(struct nvc *c, u32 unit, u64 ready);
void nvc_mapping_collect(struct nvc *c, u32 line);
void nvc_mapping_save(struct nvc *c);
bool nvc_mapping_thaw(struct nvc *c);

/* gc.c */
void nvc_gc_begin(struct nvc *c, u32 line);
u32 nvc_gc_step(struct nvc *c, u64 now);
u32 nvc_gc_units(const struct ssd *s, u32 line, u32 at, u8 *offsets);
void nvc_gc_erase(struct nvc *c, u32 line, u64 ready);
void nvc_gc_stop(struct nvc *c);
void nvc_gc_append(struct nvc *c, u32 unit, u32 id, u64 ready);
void nvc_gc_room(struct nvc *c);
void nvc_gc_idle(struct nvc *c);

/* refresh.c */
void nvc_refresh(struct nvc *c);

/* place.c */
u32 nvc_place_home(const struct nvc *c, u32 stream);
void nvc_place_begin(struct nvc *c, const struct nvc_cmd *cmd);
void nvc_place_update(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_range *ranges);
void nvc_place_moving(struct nvc *c, u32 unit);
void nvc_place_moved(struct nvc *c);
bool nvc_place_sound(const struct nvc *c);

/* buffer.c */
u32 nvc_buffer_slot(struct ssd *s, u32 base, u64 *at);
u64 nvc_buffer_take(struct ssd *s, u32 id, u32 base, u64 at);
void nvc_buffer_done(struct ssd *s, u32 slot, u64 done);
void nvc_undo_log(struct ssd *s, const struct ssd_undo *entry);
void nvc_undo_erased(struct ssd *s, u32 line);
void nvc_undo_moved(struct ssd *s, u32 from, u32 to);

/* ssd.c, write.c */
void nvc_ssd_reset(struct nvc *c);
u64 nvc_ssd_read(struct nvc *c, struct nvc_extent at, struct ssd_timeline *link);
u64 nvc_ssd_read_units(struct nvc *c, u32 unit, u32 last, struct ssd_timeline *link);
u64 nvc_ssd_read_run(struct nvc *c, u32 unit, u32 n, u64 ready);
u64 nvc_ssd_write_units(struct nvc *c, struct nvc_extent to, bool whole, u64 at, u32 *used);
u64 nvc_ssd_finish(struct nvc *c, const struct nvc_cmd *cmd, u64 end, u32 used);
u64 nvc_ssd_change(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		   const struct nvc_range *ranges);
void nvc_ssd_settle(struct nvc *c);
u64 nvc_ssd_commit(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at);

/* power.c */
bool nvc_ssd_risks(const struct nvc *c, struct nvc_extent at);
u32 nvc_ssd_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready);
void nvc_ssd_wake(struct nvc *c);

/* thaw.c, stream_thaw.c */
bool nvc_ssd_thaw(struct nvc *c);
bool nvc_line_bare(const struct ssd *s, u32 line, u32 from, u32 to);
bool nvc_stream_used(const struct nvc *c, u32 id);
bool nvc_streams_sound(const struct nvc *c);

#endif
