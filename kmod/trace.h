/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace, as the data path sees it. A worker without a ring passes each of
 * these with one branch. All are called with the worker locked.
 */
#ifndef NVLAB_TRACE_H
#define NVLAB_TRACE_H

#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/wait.h>

#include "nvc_trace.h"
#include "nvlab.h"
#include "queue.h"

#define NVL_TRACE_OPEN	0
#define NVL_TRACE_ENDED	1

/**
 * struct nvl_trace - the rings of a subsystem; readers may outlive it
 * @ref: the subsystem's, and the reader's
 * @misc: the device node
 * @name: of the device node
 * @map: what readers map
 * @size: bytes of @map
 * @rings: the kernel's side
 * @nr: how many
 * @entries: records of each
 * @lossless: fetching waits when a ring is full and somebody reads
 * @flags: NVL_TRACE_OPEN while somebody reads; NVL_TRACE_ENDED once nothing more will come
 * @readers: who waits until there is something worth reading
 */
struct nvl_trace {
	struct kref ref;
	struct miscdevice misc;
	char name[NVL_NAME_MAX + 16];
	void *map;
	size_t size;
	struct nvl_ring *rings;
	unsigned int nr;
	u32 entries;
	bool lossless;
	unsigned long flags;
	wait_queue_head_t readers;
};

/**
 * struct nvl_ring - the kernel's side of one ring
 * @trace: all rings of the subsystem
 * @shared: head and tail, where the reader can write: only @shared->head is read
 * @records: the records
 * @tail: records written
 * @published: of them, shown to the reader; the others wait for their interrupt
 * @promised: records that commands under way will need
 * @stalled: since when fetching waits for the reader, ns, or 0
 * @head: the reader's, when it was last seen to move
 * @looks: how often the ring was found full since then
 * @clock: when the worker last looked at it in this pass, ns, or 0
 * @now: the record of the command in hand
 */
struct nvl_ring {
	struct nvl_trace *trace;
	struct nvc_trace_ring *shared;
	u8 *records;
	u64 tail;
	u64 published;
	u32 promised;
	u64 stalled;
	u64 head;
	u32 looks;
	u64 clock;
	struct nvc_trace_command now;
};

/* ring.c */
bool nvl_ring_room(struct nvl_ring *r);
void nvl_ring_fetched(struct nvl_ring *r, const struct nvl_sq *sq,
		      const struct nvme_command *cmd);
void nvl_ring_decided(struct nvl_ring *r, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges, const struct nvc_decision *d);
void nvl_ring_copied(struct nvl_ring *r);
void nvl_ring_post(struct nvl_ring *r, u16 posted);
bool nvl_ring_worth(const struct nvl_ring *r);
void nvl_ring_publish(struct nvl_ring *r);
void nvl_trace_input(struct nvl_subsys *subsys, const void *record, size_t size);

/**
 * nvl_trace_room() - whether a command may be fetched
 * @w: the worker
 *
 * Return: false if in lossless mode the reader has to make room first.
 */
static inline bool nvl_trace_room(struct nvl_worker *w)
{
	return likely(!w->ring) || nvl_ring_room(w->ring);
}

/**
 * nvl_trace_stalled() - whether fetching waits for the reader
 * @w: the worker
 *
 * Return: true if so.
 */
static inline bool nvl_trace_stalled(const struct nvl_worker *w)
{
	return unlikely(w->ring) && w->ring->stalled;
}

/**
 * nvl_trace_fetched() - begin the record of a command
 * @w: the worker
 * @sq: where it came from
 * @cmd: the command
 */
static inline void nvl_trace_fetched(struct nvl_worker *w, const struct nvl_sq *sq,
				     const struct nvme_command *cmd)
{
	if (unlikely(w->ring))
		nvl_ring_fetched(w->ring, sq, cmd);
}

/**
 * nvl_trace_decided() - note what entered the core and what came out
 * @w: the worker
 * @cmd: what entered
 * @d: what came out
 */
static inline void nvl_trace_decided(struct nvl_worker *w, const struct nvc_cmd *cmd,
				     const struct nvc_decision *d)
{
	if (unlikely(w->ring))
		nvl_ring_decided(w->ring, cmd, w->ranges, d);
}

/**
 * nvl_trace_copied() - note when the data were copied
 * @w: the worker
 */
static inline void nvl_trace_copied(struct nvl_worker *w)
{
	if (unlikely(w->ring))
		nvl_ring_copied(w->ring);
}

/**
 * nvl_trace_wait() - put the record in hand aside: its command is not due yet
 * @w: the worker
 * @cmd: the command
 */
static inline void nvl_trace_wait(struct nvl_worker *w, const struct nvl_cmd *cmd)
{
	if (unlikely(w->ring))
		cmd->sq->records[cmd - cmd->sq->cmds] = w->ring->now;
}

/**
 * nvl_trace_resume() - take the record of a command in hand again
 * @w: the worker
 * @cmd: the command
 */
static inline void nvl_trace_resume(struct nvl_worker *w, const struct nvl_cmd *cmd)
{
	if (unlikely(w->ring))
		w->ring->now = cmd->sq->records[cmd - cmd->sq->cmds];
}

/**
 * nvl_trace_clock() - the worker has looked at the clock, and records need not
 * @w: the worker
 * @now: what it saw, ns; 0 at the start of a pass
 */
static inline void nvl_trace_clock(struct nvl_worker *w, u64 now)
{
	if (unlikely(w->ring))
		w->ring->clock = now;
}

/**
 * nvl_trace_post() - end the record in hand
 * @w: the worker
 * @posted: what the host got, or NVC_TRACE_NEVER
 */
static inline void nvl_trace_post(struct nvl_worker *w, u16 posted)
{
	if (unlikely(w->ring))
		nvl_ring_post(w->ring, posted);
}

/**
 * nvl_trace_publish() - show the records that were ended; interrupts are next
 * @w: the worker
 */
static inline void nvl_trace_publish(struct nvl_worker *w)
{
	if (unlikely(w->ring))
		nvl_ring_publish(w->ring);
}

/* trace.c */
int nvl_trace_alloc(struct nvl_subsys *subsys);
int nvl_trace_show(struct nvl_subsys *subsys);
void nvl_trace_begin(struct nvl_subsys *subsys);
void nvl_trace_end(struct nvl_subsys *subsys);
void nvl_trace_hide(struct nvl_subsys *subsys);
void nvl_trace_free(struct nvl_subsys *subsys);
struct nvl_ring *nvl_trace_ring(const struct nvl_ctrl *ctrl, unsigned int worker);

/* input.c */
int nvl_core_init(struct nvl_subsys *subsys, const struct nvc_config *config);
void nvl_core_reset(struct nvl_subsys *subsys);
u32 nvl_core_cut(struct nvl_subsys *subsys, struct nvc_lost *lost);
void nvl_core_wake(struct nvl_subsys *subsys);
void nvl_core_taken(struct nvl_subsys *subsys, const struct nvc_snapshot *state);
int nvl_core_timing(struct nvl_subsys *subsys, const struct nvc_timing *timing);
void nvl_core_cache(struct nvl_subsys *subsys, u16 ctrl, bool on);
int nvl_core_ns(struct nvl_subsys *subsys, const struct nvc_ns_change *change);
int nvl_core_model(struct nvl_subsys *subsys, const struct nvc_model *model);
void nvl_core_health(struct nvl_subsys *subsys, struct nvc_health *health);
void nvl_core_stats(struct nvl_subsys *subsys, struct nvc_ssd_stats *stats);
int nvl_core_rule(struct nvl_subsys *subsys, u32 slot, const struct nvc_rule *rule);

#endif
