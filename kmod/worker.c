// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker serves the I/O queues of one CPU's submitters, and runs on that CPU
 * where it may: then it takes the CPU when the submitter lets go of it, and no
 * wake-up or interrupt has to cross to another.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/sched/rt.h>
#include <linux/sched/stat.h>
#include <uapi/linux/sched/types.h>

#include "nvlab.h"
#include "trace.h"

/* Pages copied for one queue in one pass, before completions are announced. */
#define NVL_BATCH	32

/* How long to look for more before sleeping, with the CPU to ourselves. */
#define NVL_SPIN_NS	(50 * NSEC_PER_USEC)

/* Shorter waits than this are not worth a timer. */
#define NVL_SPIN_DUE_NS	(10 * NSEC_PER_USEC)

/* Between an announcement and its doorbell; later, a quarter of the time passed. */
#define NVL_NAP_NS	(20 * NSEC_PER_USEC)

/* Between looks at what fetching waits for. */
#define NVL_STALL_NS	(200 * NSEC_PER_USEC)

/* An announcement this old will not be followed by a command. */
#define NVL_GAP_NS	(100 * NSEC_PER_MSEC)

/* So many commands in a row that took no time, and a worker yields. */
#define NVL_PATIENCE		1024
#define NVL_PATIENCE_MAX	(64 * NVL_PATIENCE)

/*
 * A submitter who kept the CPU for so long, again and again, polls. Once may be
 * chance: a virtual CPU stands still at times.
 */
#define NVL_IGNORED_NS	(2 * NSEC_PER_MSEC)
#define NVL_IGNORED	3

/* The module parameter poll. */
bool nvl_never_sleep;

static bool nvl_cmd_before(struct rb_node *a, const struct rb_node *b)
{
	const struct nvl_cmd *x = rb_entry(a, struct nvl_cmd, node);
	const struct nvl_cmd *y = rb_entry(b, struct nvl_cmd, node);

	return x->target != y->target ? x->target < y->target : x->seq < y->seq;
}

static struct nvl_cmd *nvl_worker_first(struct nvl_worker *w)
{
	struct rb_node *node = rb_first_cached(&w->due);

	return node ? rb_entry(node, struct nvl_cmd, node) : NULL;
}

/* Nothing is due while host memory may not be touched. */
static u64 nvl_worker_next(struct nvl_worker *w)
{
	struct nvl_cmd *cmd = nvl_worker_first(w);

	return cmd && nvl_ctrl_acts(w->ctrl) ? cmd->target : U64_MAX;
}

static void nvl_cmd_release(struct nvl_worker *w, struct nvl_cmd *cmd)
{
	rb_erase_cached(&cmd->node, &w->due);
	cmd->sq->free[cmd->sq->nr_free++] = cmd;
}

/**
 * nvl_worker_complete() - complete a command
 * @w: the worker, locked
 * @sq: where the command came from
 * @cid: its identifier
 * @status: status field
 * @result: double words 0 and 1 of the completion
 */
void nvl_worker_complete(struct nvl_worker *w, struct nvl_sq *sq, u16 cid, u16 status,
			 u64 result)
{
	struct nvl_cq *cq = sq->cq;

	nvl_cq_post(cq, sq, cid, status, result);
	nvl_trace_post(w, status);
	w->stats.commands++;
	if (!cq->irq)
		return;
	__set_bit(cq->vector, w->raise);
	if (unlikely(READ_ONCE(w->ctrl->coalescing)))
		nvl_coalesce_count(w, cq->vector);
}

/* How well the model's time was kept. */
static void nvl_worker_timed(struct nvl_worker *w, u64 target, u64 now)
{
	u64 lateness = now - target;

	w->stats.timed++;
	w->stats.late += lateness > NVL_LATE_NS;
	w->stats.lateness += lateness;
	w->stats.worst = max(w->stats.worst, lateness);
}

/**
 * nvl_worker_lose() - never complete the command in hand
 * @w: the worker, locked
 * @sq: where the command came from
 */
void nvl_worker_lose(struct nvl_worker *w, struct nvl_sq *sq)
{
	sq->cq->promised--;
	nvl_trace_post(w, NVC_TRACE_NEVER);
}

static void nvl_worker_wait(struct nvl_worker *w, struct nvl_sq *sq, u16 cid,
			    const struct nvc_decision *d)
{
	u64 now = ktime_get_ns();
	struct nvl_cmd *cmd;

	w->untimed = 0;
	nvl_trace_clock(w, now);
	if (now >= d->target) {
		nvl_worker_timed(w, d->target, now);
		nvl_worker_complete(w, sq, cid, d->status, d->result);
		return;
	}
	cmd = sq->free[--sq->nr_free];
	cmd->target = d->target;
	cmd->seq = d->seq;
	cmd->cid = cid;
	cmd->status = d->status;
	cmd->result = d->result;
	nvl_trace_wait(w, cmd);
	rb_add_cached(&cmd->node, &w->due, nvl_cmd_before);
}

/**
 * nvl_worker_answer() - complete a command when it is due
 * @w: the worker, locked
 * @sq: where the command came from
 * @cid: its identifier
 * @d: what the core said; its data are copied already
 * @decided: when it said so, ns
 */
void nvl_worker_answer(struct nvl_worker *w, struct nvl_sq *sq, u16 cid,
		       const struct nvc_decision *d, u64 decided)
{
	if (d->target > decided) {
		nvl_worker_wait(w, sq, cid, d);
		return;
	}
	w->untimed += w->untimed < NVL_PATIENCE_MAX;
	nvl_worker_complete(w, sq, cid, d->status, d->result);
}

/**
 * nvl_worker_abort() - complete a waiting command at once, as aborted
 * @w: the worker
 * @sqid: where the command came from
 * @cid: its identifier
 *
 * Return: true if it was waiting.
 */
bool nvl_worker_abort(struct nvl_worker *w, u16 sqid, u16 cid)
{
	struct rb_node *node;
	bool found = false;

	mutex_lock(&w->lock);
	for (node = rb_first_cached(&w->due); node && !found; node = rb_next(node)) {
		struct nvl_cmd *cmd = rb_entry(node, struct nvl_cmd, node);

		if (cmd->sq->qid != sqid || cmd->cid != cid)
			continue;
		cmd->status = NVME_SC_ABORT_REQ;
		rb_erase_cached(node, &w->due);
		cmd->target = 0;
		rb_add_cached(node, &w->due, nvl_cmd_before);
		found = true;
	}
	if (found)
		WRITE_ONCE(w->next, 0);
	mutex_unlock(&w->lock);
	if (found)
		wake_up_process(w->task);
	return found;
}

/**
 * nvl_worker_forget() - drop the waiting commands of a queue
 * @w: the worker, locked
 * @sq: the queue, which the host deletes
 */
void nvl_worker_forget(struct nvl_worker *w, struct nvl_sq *sq)
{
	struct rb_node *node, *next;

	for (node = rb_first_cached(&w->due); node; node = next) {
		struct nvl_cmd *cmd = rb_entry(node, struct nvl_cmd, node);

		next = rb_next(node);
		if (cmd->sq != sq)
			continue;
		nvl_trace_resume(w, cmd);
		nvl_trace_post(w, NVC_TRACE_NEVER);
		nvl_cmd_release(w, cmd);
		sq->cq->promised--;
	}
	nvl_trace_publish(w);
}

/*
 * A submitter counts an announcement before it rings, so there is always one
 * for a command fetched, unless the submitter is no block device.
 */
static void nvl_worker_fetched(struct nvl_worker *w)
{
	if (w->fetched != (u32)atomic_read(&w->issued))
		w->fetched++;
	w->gap = 0;
}

static bool nvl_worker_may_fetch(struct nvl_worker *w)
{
	return !nvl_subsys_paused(w->ctrl->subsys) && nvl_trace_room(w);
}

static bool nvl_worker_drain(struct nvl_worker *w, struct nvl_sq *sq)
{
	struct nvme_command cmd;
	u32 pages = 0;

	while (pages < NVL_BATCH && nvl_sq_ready(w->ctrl, sq) && nvl_worker_may_fetch(w)) {
		nvl_sq_fetch(sq, &cmd);
		nvl_trace_fetched(w, sq, &cmd);
		nvl_worker_fetched(w);
		pages += max(1U, nvl_io(w, sq, &cmd) >> PAGE_SHIFT);
	}
	return pages;
}

static bool nvl_worker_finish(struct nvl_worker *w)
{
	bool any = false;
	u64 now;

	if (RB_EMPTY_ROOT(&w->due.rb_root))
		return false;
	now = ktime_get_ns();
	nvl_trace_clock(w, now);
	while (nvl_worker_next(w) <= now) {
		struct nvl_cmd *cmd = nvl_worker_first(w);

		nvl_trace_resume(w, cmd);
		nvl_cmd_release(w, cmd);
		if (cmd->target)	/* else aborted */
			nvl_worker_timed(w, cmd->target, now);
		nvl_worker_complete(w, cmd->sq, cmd->cid, cmd->status, cmd->result);
		any = true;
	}
	return any;
}

static void nvl_worker_raise(struct nvl_worker *w)
{
	unsigned long vector;

	nvl_trace_publish(w);
	w->hold = U64_MAX;
	for_each_set_bit(vector, w->raise, w->ctrl->irqs.nr) {
		if (unlikely(w->held[vector].count) && nvl_coalesce_holds(w, vector))
			continue;
		__clear_bit(vector, w->raise);
		w->stats.interrupts++;
		nvl_irq_raise(w->ctrl, vector);
	}
}

/* Interrupts under the lock too: whoever detaches a queue can then wait for them. */
static bool nvl_worker_pass(struct nvl_worker *w)
{
	struct nvl_sq *sq;
	bool found = false;

	w->seen = atomic_read(&w->issued);
	mutex_lock(&w->lock);
	nvl_trace_clock(w, 0);
	list_for_each_entry(sq, &w->sqs, node)
		found |= nvl_worker_drain(w, sq);
	found |= nvl_worker_finish(w);
	if (found || w->hold != U64_MAX) {
		w->stats.passes += found;
		nvl_worker_raise(w);
	}
	w->next = min(nvl_worker_next(w), w->hold);
	mutex_unlock(&w->lock);
	return found;
}

/* Never at the cost of somebody who would run here, as the submitter may be. */
static bool nvl_worker_spins(struct nvl_worker *w, u64 now)
{
	if (nvl_never_sleep)
		return true;
	if (need_resched() || !single_task_running())
		return false;
	return now < w->busy + NVL_SPIN_NS || w->next < now + NVL_SPIN_DUE_NS;
}

/* Commands were announced and have not come: be back soon, but off the CPU. */
static void nvl_worker_nap(struct nvl_worker *w, u64 now)
{
	ktime_t nap;

	WRITE_ONCE(w->sleeping, false);
	w->gap = w->gap ?: now;
	nap = min(max_t(u64, NVL_NAP_NS, (now - w->gap) / 4), w->next - min(now, w->next));
	if (now - w->gap > NVL_GAP_NS) {
		w->fetched = w->seen;
		w->gap = 0;
		w->stats.lost++;
		__set_current_state(TASK_RUNNING);
		return;
	}
	w->stats.gaps++;
	schedule_hrtimeout_range(&nap, nap / 4, HRTIMER_MODE_REL);
}

/* Who reads the trace, or what the drive holds, does not say when he is done. */
static void nvl_worker_stall(struct nvl_worker *w, u64 now)
{
	ktime_t nap = min_t(u64, NVL_STALL_NS, w->next - min(now, w->next));

	WRITE_ONCE(w->sleeping, false);
	schedule_hrtimeout_range(&nap, nap / 4, HRTIMER_MODE_REL);
}

/**
 * nvl_worker_call() - wake a worker that sleeps: a command was announced
 * @w: the worker
 *
 * By many at once. All but the first may find it awake: it looks at @issued
 * before it sleeps again.
 */
void nvl_worker_call(struct nvl_worker *w)
{
	WRITE_ONCE(w->sleeping, false);
	if (READ_ONCE(w->yields) && !READ_ONCE(w->called))
		WRITE_ONCE(w->called, ktime_get_ns());
	wake_up_process(w->task);
}

/*
 * As soon as it is woken, a worker takes the CPU of a submitter who is about to
 * submit more: each command costs two switches then, for the sake of its time.
 * Commands that take no time have none to keep. For these a worker waits until
 * the submitter sleeps, and serves all he has submitted at once. One who does
 * not sleep but polls would wait for his time slice to end: he is found out, and
 * the worker yields again only after twice as many commands.
 */
static void nvl_worker_yield(struct nvl_worker *w)
{
	struct sched_attr attr = { .sched_nice = task_nice(current) };
	u64 called = READ_ONCE(w->called);
	bool yields;

	if (called)
		w->ignored = ktime_get_ns() - called > NVL_IGNORED_NS ? w->ignored + 1 : 0;
	if (w->ignored == NVL_IGNORED) {
		w->ignored = 0;
		w->untimed = 0;
		w->patience = min(2 * w->patience, NVL_PATIENCE_MAX);
	}
	yields = w->untimed >= w->patience;
	if (yields == w->yields || rt_task(current)) /* somebody's own choice stays */
		return;
	WRITE_ONCE(w->yields, yields);
	attr.sched_policy = yields ? SCHED_BATCH : SCHED_NORMAL;
	sched_setattr_nocheck(current, &attr);
}

static void nvl_worker_sleep(struct nvl_worker *w, u64 now)
{
	ktime_t due;

	WRITE_ONCE(w->called, 0);
	WRITE_ONCE(w->sleeping, true);
	set_current_state(TASK_IDLE); /* pairs with nvl_announce() and nvl_worker_abort() */
	due = READ_ONCE(w->next);
	if ((u32)atomic_read(&w->issued) != w->seen || kthread_should_stop()) {
		__set_current_state(TASK_RUNNING);
	} else if (nvl_trace_stalled(w) || nvl_subsys_paused(w->ctrl->subsys)) {
		nvl_worker_stall(w, now);
	} else if (w->seen != w->fetched) {
		nvl_worker_nap(w, now);
	} else if (due != U64_MAX) {
		schedule_hrtimeout_range(&due, 0, HRTIMER_MODE_ABS);
	} else {
		w->stats.sleeps++;
		schedule();
	}
	WRITE_ONCE(w->sleeping, false);
	nvl_worker_yield(w);
}

/**
 * nvl_worker_main() - what the thread of a worker does
 * @data: the worker
 *
 * Return: 0, when told to stop.
 */
int nvl_worker_main(void *data)
{
	struct nvl_worker *w = data;

	w->patience = NVL_PATIENCE;
	while (!kthread_should_stop()) {
		bool found = nvl_worker_pass(w);
		u64 now = ktime_get_ns();

		if (found)
			w->busy = now;
		else if (nvl_worker_spins(w, now))
			cpu_relax();
		else
			nvl_worker_sleep(w, now);
		cond_resched();
	}
	return 0;
}

/**
 * nvl_worker_missed() - whether a worker sleeps over commands; for the slow poll
 * @w: the worker
 *
 * Return: true if it must be woken.
 */
bool nvl_worker_missed(struct nvl_worker *w)
{
	struct nvl_sq *sq;
	bool missed = false;

	/* one that was announced has woken it already */
	if (!READ_ONCE(w->sleeping) || (u32)atomic_read(&w->issued) != READ_ONCE(w->seen) ||
	    !mutex_trylock(&w->lock))
		return false;
	list_for_each_entry(sq, &w->sqs, node)
		missed |= nvl_sq_ready(w->ctrl, sq);
	missed |= nvl_worker_next(w) <= ktime_get_ns();
	mutex_unlock(&w->lock);
	return missed;
}
