/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues, the commands in them, and the workers that serve them. */
#ifndef NVLAB_QUEUE_H
#define NVLAB_QUEUE_H

#include <linux/bitmap.h>
#include <linux/cache.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nvme.h>
#include <linux/rbtree.h>

#include "nvc_trace.h"

#define NVL_MAX_QUEUES		256
#define NVL_MAX_ENTRIES		16384

/* Bytes of the longest entry in a list of ranges: a source of Copy. */
#define NVL_RANGE_SIZE		32

/* The model's time is kept if a command is done this soon after it. */
#define NVL_LATE_NS		1000

struct nvl_ctrl;
struct nvl_ring;
struct nvl_settings;
struct nvl_worker;

/**
 * struct nvl_cq - a completion queue; belongs to one thread
 * @ring: entries, in host memory
 * @head_bell: what the host consumed, rung by the host
 * @worker: the owner, NULL for the admin queue
 * @qid: identifier
 * @size: entries
 * @tail: where the next entry goes
 * @promised: entries kept free for commands under way
 * @vector: interrupt vector
 * @phase: phase tag of this round
 * @irq: whether to interrupt
 * @bad_bell: the doorbell held nonsense, and the host was told
 * @sqs: submission queues that complete here
 */
struct nvl_cq {
	struct nvme_completion *ring;
	u32 *head_bell;
	struct nvl_worker *worker;
	u16 qid;
	u16 size;
	u16 tail;
	u16 promised;
	u16 vector;
	u8 phase;
	bool irq;
	bool bad_bell;
	u16 sqs;
};

/**
 * struct nvl_cmd - a command that waits for its time
 * @node: in the worker's tree, by @target, then @seq
 * @sq: where it came from
 * @target: when it is due, ns
 * @seq: the core's number of it
 * @result: double words 0 and 1 of its completion
 * @cid: command identifier
 * @status: status field
 */
struct nvl_cmd {
	struct rb_node node;
	struct nvl_sq *sq;
	u64 target;
	u64 seq;
	u64 result;
	u16 cid;
	u16 status;
};

/**
 * struct nvl_sq - a submission queue; belongs to its completion queue's thread
 * @node: in the worker's list
 * @ring: entries, in host memory
 * @tail_bell: what the host submitted, rung by the host
 * @cq: where it completes
 * @cmds: room for as many waiting commands as entries
 * @records: if there is a trace, what it says of each of @cmds
 * @free: unused of @cmds, as a stack
 * @nr_free: height of the stack
 * @qid: identifier
 * @size: entries
 * @head: next entry to fetch
 * @bad_bell: the doorbell held nonsense, and the host was told
 */
struct nvl_sq {
	struct list_head node;
	struct nvme_command *ring;
	u32 *tail_bell;
	struct nvl_cq *cq;
	struct nvl_cmd *cmds;
	struct nvc_trace_command *records;
	struct nvl_cmd **free;
	u16 nr_free;
	u16 qid;
	u16 size;
	u16 head;
	bool bad_bell;
};

/**
 * struct nvl_segment - a stretch of host memory
 * @addr: in the direct map
 * @len: bytes
 */
struct nvl_segment {
	u8 *addr;
	u32 len;
};

/**
 * struct nvl_held - completions of a vector that it has not told of
 * @since: when the first was posted, ns
 * @count: how many
 */
struct nvl_held {
	u64 since;
	u32 count;
};

/**
 * struct nvl_worker_stats - written by the worker alone
 * @commands: I/O commands completed
 * @errors: of them, with an error
 * @timed: commands that the model gave a time in the future
 * @late: of them, completed more than NVL_LATE_NS after it
 * @lateness: ns that @timed took longer than the model said, together
 * @worst: the same, of the worst one
 * @passes: rounds over the queues that found work
 * @sleeps: times it slept until woken
 * @gaps: times it waited for an announced command
 * @lost: announcements that no command followed
 * @interrupts: interrupts raised
 */
struct nvl_worker_stats {
	u64 commands;
	u64 errors;
	u64 timed;
	u64 late;
	u64 lateness;
	u64 worst;
	u64 passes;
	u64 sleeps;
	u64 gaps;
	u64 lost;
	u64 interrupts;
};

/**
 * struct nvl_worker - one CPU's share of a controller's I/O queues
 * @ctrl: the controller
 * @task: the thread
 * @cpu: where it runs
 * @lock: held for a pass over the queues; whoever changes them takes it
 * @sqs: the queues
 * @nr_sqs: how many
 * @due: commands that wait for their time
 * @raise: vectors to raise after the pass
 * @held: for coalescing, by vector
 * @hold: until when the first of them may wait, ns
 * @segments: host memory of the command in hand
 * @ring: where its commands are traced, or NULL
 * @list: ranges of the command in hand, as the host has them
 * @ranges: the same for the core
 * @bounce: a logical block on its way from storage to storage
 * @report: of zones or keys, on its way to the host; a descriptor extension, from it; or NULL
 * @report_size: bytes of it
 * @seen: announcements before the last pass
 * @next: when the first of @due is due, ns
 * @fetched: announced commands that were fetched
 * @busy: when it last had work, ns
 * @gap: since when announced commands are missing, ns, or 0
 * @yields: it lets submitters go first, instead of taking their CPU at once
 * @untimed: commands in a row that took no time
 * @patience: how many of these make it yield
 * @ignored: calls in a row that it heard late, for it yielded
 * @stats: counters
 * @issued: commands announced by the block layer
 * @sleeping: to be woken by an announcement
 * @called: when it was woken while it yields, ns, or 0
 */
struct nvl_worker {
	struct nvl_ctrl *ctrl;
	struct task_struct *task;
	unsigned int cpu;
	struct mutex lock;	/* queues and what waits in them */
	struct list_head sqs;
	unsigned int nr_sqs;
	struct rb_root_cached due;
	DECLARE_BITMAP(raise, NVL_MAX_QUEUES + 1);
	struct nvl_held held[NVL_MAX_QUEUES + 1];
	u64 hold;
	struct nvl_segment *segments;
	struct nvl_ring *ring;
	void *list;
	struct nvc_range *ranges;
	u8 *bounce;
	u8 *report;
	u32 report_size;
	u64 next;
	u32 seen;
	u32 fetched;
	u64 busy;
	u64 gap;
	bool yields;
	u32 untimed;
	u32 patience;
	u32 ignored;
	struct nvl_worker_stats stats;

	/* written by whoever submits */
	atomic_t issued ____cacheline_aligned_in_smp;
	bool sleeping;
	u64 called;
};

/* queue.c */
struct nvl_cq *nvl_cq_alloc(struct nvl_ctrl *ctrl, u16 qid, u16 size, u64 dma);
struct nvl_sq *nvl_sq_alloc(struct nvl_ctrl *ctrl, u16 qid, u16 size, u64 dma,
			    struct nvl_cq *cq);
void nvl_cq_free(struct nvl_cq *cq);
void nvl_sq_free(struct nvl_sq *sq);
void nvl_sq_attach(struct nvl_ctrl *ctrl, struct nvl_sq *sq);
void nvl_sq_detach(struct nvl_ctrl *ctrl, struct nvl_sq *sq);
void nvl_queues_drop(struct nvl_ctrl *ctrl);
bool nvl_sq_ready(struct nvl_ctrl *ctrl, struct nvl_sq *sq);
void nvl_sq_fetch(struct nvl_sq *sq, struct nvme_command *cmd);
bool nvl_cq_room(const struct nvl_cq *cq);
void nvl_cq_post(struct nvl_cq *cq, struct nvl_sq *sq, u16 cid, u16 status,
		 u64 result);

/* worker.c */
extern bool nvl_never_sleep;
int nvl_worker_main(void *data);
void nvl_worker_answer(struct nvl_worker *w, struct nvl_sq *sq, u16 cid,
		       const struct nvc_decision *d, u64 decided);
void nvl_worker_complete(struct nvl_worker *w, struct nvl_sq *sq, u16 cid,
			 u16 status, u64 result);
bool nvl_worker_abort(struct nvl_worker *w, u16 sqid, u16 cid);
void nvl_worker_lose(struct nvl_worker *w, struct nvl_sq *sq);
void nvl_worker_forget(struct nvl_worker *w, struct nvl_sq *sq);
bool nvl_worker_missed(struct nvl_worker *w);
void nvl_worker_call(struct nvl_worker *w);

/* coalesce.c */
void nvl_coalesce_count(struct nvl_worker *w, u16 vector);
bool nvl_coalesce_holds(struct nvl_worker *w, u16 vector);

/* pool.c */
unsigned int nvl_workers_wanted(const struct nvl_settings *set);
int nvl_workers_start(struct nvl_ctrl *ctrl);
void nvl_workers_stop(struct nvl_ctrl *ctrl);
struct nvl_worker *nvl_worker_for(struct nvl_ctrl *ctrl, const struct nvl_cq *cq);

#endif
