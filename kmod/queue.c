// SPDX-License-Identifier: GPL-2.0-or-later
/* Submission and completion queues: rings in host memory, doorbells in ours. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/slab.h>

#include "nvlab.h"

/**
 * nvl_cq_alloc() - make a completion queue
 * @ctrl: the controller
 * @qid: identifier
 * @size: entries, at least 2
 * @dma: the ring, at the start of a page
 *
 * Return: the queue, -ENOMEM, or -EFAULT if the ring is not in RAM.
 */
struct nvl_cq *nvl_cq_alloc(struct nvl_ctrl *ctrl, u16 qid, u16 size, u64 dma)
{
	struct nvl_cq *cq;

	cq = kzalloc(sizeof(*cq), GFP_KERNEL);
	if (!cq)
		return ERR_PTR(-ENOMEM);
	cq->ring = nvl_ram_range(ctrl, dma, size * sizeof(*cq->ring), true);
	if (!cq->ring) {
		kfree(cq);
		return ERR_PTR(-EFAULT);
	}
	cq->qid = qid;
	cq->size = size;
	cq->phase = 1;
	cq->head_bell = nvl_doorbell(ctrl, qid, true);
	WRITE_ONCE(*cq->head_bell, 0);
	return cq;
}

/**
 * nvl_cq_free() - free a completion queue
 * @cq: the queue, without submission queues
 */
void nvl_cq_free(struct nvl_cq *cq)
{
	kfree(cq);
}

static int nvl_sq_alloc_records(struct nvl_ctrl *ctrl, struct nvl_sq *sq)
{
	bool traced = ctrl->subsys->trace;

	if (traced)
		sq->records = kvcalloc(sq->size, sizeof(*sq->records), GFP_KERNEL);
	return traced && !sq->records ? -ENOMEM : 0;
}

static int nvl_sq_alloc_cmds(struct nvl_sq *sq)
{
	u16 i;

	sq->cmds = kvcalloc(sq->size, sizeof(*sq->cmds), GFP_KERNEL);
	sq->free = kvcalloc(sq->size, sizeof(*sq->free), GFP_KERNEL);
	if (!sq->cmds || !sq->free)
		return -ENOMEM;
	for (i = 0; i < sq->size; i++) {
		sq->cmds[i].sq = sq;
		sq->free[i] = &sq->cmds[i];
	}
	sq->nr_free = sq->size;
	return 0;
}

/**
 * nvl_sq_alloc() - make a submission queue; nobody looks at it yet
 * @ctrl: the controller
 * @qid: identifier
 * @size: entries, at least 2
 * @dma: the ring, at the start of a page
 * @cq: where it completes
 *
 * Return: the queue, -ENOMEM, or -EFAULT if the ring is not in RAM.
 */
struct nvl_sq *nvl_sq_alloc(struct nvl_ctrl *ctrl, u16 qid, u16 size, u64 dma,
			    struct nvl_cq *cq)
{
	struct nvl_sq *sq;
	int err = -EFAULT;

	sq = kzalloc(sizeof(*sq), GFP_KERNEL);
	if (!sq)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&sq->node);
	sq->qid = qid;
	sq->size = size;
	sq->cq = cq;
	sq->ring = nvl_ram_range(ctrl, dma, size * sizeof(*sq->ring), false);
	if (!sq->ring)
		goto free;
	err = nvl_sq_alloc_cmds(sq) ?: nvl_sq_alloc_records(ctrl, sq);
	if (err)
		goto free;
	sq->tail_bell = nvl_doorbell(ctrl, qid, false);
	WRITE_ONCE(*sq->tail_bell, 0);
	cq->sqs++;
	return sq;

free:
	kvfree(sq->records);
	kvfree(sq->free);
	kvfree(sq->cmds);
	kfree(sq);
	return ERR_PTR(err);
}

/**
 * nvl_sq_free() - free a submission queue
 * @sq: the queue, detached
 */
void nvl_sq_free(struct nvl_sq *sq)
{
	sq->cq->sqs--;
	kvfree(sq->records);
	kvfree(sq->free);
	kvfree(sq->cmds);
	kfree(sq);
}

/**
 * nvl_sq_attach() - let the worker of its completion queue serve a queue
 * @ctrl: the controller
 * @sq: the queue
 */
void nvl_sq_attach(struct nvl_ctrl *ctrl, struct nvl_sq *sq)
{
	struct nvl_worker *w = sq->cq->worker;

	mutex_lock(&w->lock);
	list_add_tail(&sq->node, &w->sqs);
	w->nr_sqs++;
	mutex_unlock(&w->lock);
	WRITE_ONCE(ctrl->by_queue[sq->qid], w);
}

/**
 * nvl_sq_detach() - undo nvl_sq_attach()
 * @ctrl: the controller
 * @sq: the queue; on return nobody touches its ring any more, nor its
 *	completion queue's ring on its behalf
 */
void nvl_sq_detach(struct nvl_ctrl *ctrl, struct nvl_sq *sq)
{
	struct nvl_worker *w = sq->cq->worker;

	WRITE_ONCE(ctrl->by_queue[sq->qid], NULL);
	mutex_lock(&w->lock);
	list_del_init(&sq->node);
	w->nr_sqs--;
	nvl_worker_forget(w, sq);
	mutex_unlock(&w->lock);
}

static void nvl_sqs_drop(struct nvl_ctrl *ctrl)
{
	u16 qid;

	for (qid = 1; qid <= ctrl->nr_queues; qid++) {
		if (!ctrl->sqs[qid])
			continue;
		nvl_sq_detach(ctrl, ctrl->sqs[qid]);
		nvl_sq_free(ctrl->sqs[qid]);
		ctrl->sqs[qid] = NULL;
	}
	if (ctrl->asq)
		nvl_sq_free(ctrl->asq);
	ctrl->asq = NULL;
}

/**
 * nvl_queues_drop() - forget every queue, the admin queue included
 * @ctrl: the controller; on return host memory is not touched any more, and
 *	every interrupt raised has arrived
 */
void nvl_queues_drop(struct nvl_ctrl *ctrl)
{
	u16 qid;

	nvl_sqs_drop(ctrl);
	for (qid = 1; qid <= ctrl->nr_queues; qid++) {
		if (ctrl->cqs[qid])
			nvl_cq_free(ctrl->cqs[qid]);
		ctrl->cqs[qid] = NULL;
	}
	if (ctrl->acq)
		nvl_cq_free(ctrl->acq);
	ctrl->acq = NULL;
	nvl_irq_sync();
}

/**
 * nvl_cq_room() - whether one more command may be promised a completion
 * @cq: the queue
 *
 * Promising on fetching keeps the queue from ever being found full.
 *
 * Return: true if so.
 */
bool nvl_cq_room(const struct nvl_cq *cq)
{
	u32 head = READ_ONCE(*cq->head_bell);
	u16 used;

	if (head >= cq->size)
		return false;
	used = cq->tail >= head ? cq->tail - head : cq->tail + cq->size - head;
	return used + cq->promised < cq->size - 1;
}

/* The host is told of a doorbell that makes no sense, once until it makes some again. */
static bool nvl_bell_valid(struct nvl_ctrl *ctrl, u32 value, u16 size, bool *bad)
{
	bool valid = value < size;

	if (likely(valid != *bad))
		return valid;
	if (!valid)
		nvl_event(ctrl, NVL_EVENT_DOORBELL);
	*bad = !valid;
	return valid;
}

/**
 * nvl_sq_ready() - whether there is a command to fetch, and room to complete it
 * @ctrl: the controller
 * @sq: the queue
 *
 * Return: true if so.
 */
bool nvl_sq_ready(struct nvl_ctrl *ctrl, struct nvl_sq *sq)
{
	/* entries were written before the doorbell */
	u32 tail = smp_load_acquire(sq->tail_bell);

	if (tail == sq->head || !nvl_ctrl_acts(ctrl))
		return false;
	return nvl_bell_valid(ctrl, tail, sq->size, &sq->bad_bell) && sq->nr_free &&
	       nvl_bell_valid(ctrl, READ_ONCE(*sq->cq->head_bell), sq->cq->size,
			      &sq->cq->bad_bell) &&
	       nvl_cq_room(sq->cq);
}

/**
 * nvl_sq_fetch() - take a command; nvl_sq_ready() said there is one
 * @sq: the queue
 * @cmd: a copy, as the host may change it
 */
void nvl_sq_fetch(struct nvl_sq *sq, struct nvme_command *cmd)
{
	memcpy(cmd, &sq->ring[sq->head], sizeof(*cmd));
	sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
	sq->cq->promised++;
}

/**
 * nvl_cq_post() - complete a command
 * @cq: the queue, which promised room
 * @sq: where the command came from
 * @cid: its identifier
 * @status: status field, without phase
 * @result: double words 0 and 1
 */
void nvl_cq_post(struct nvl_cq *cq, struct nvl_sq *sq, u16 cid, u16 status,
		 u64 result)
{
	struct nvme_completion *cqe = &cq->ring[cq->tail];

	cqe->result.u64 = cpu_to_le64(result);
	cqe->sq_head = cpu_to_le16(sq->head);
	cqe->sq_id = cpu_to_le16(sq->qid);
	cqe->command_id = cid;
	/* the host may take it from here on */
	smp_store_release(&cqe->status, cpu_to_le16(status << 1 | cq->phase));
	cq->promised--;
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase ^= 1;
	}
}
