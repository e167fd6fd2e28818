// SPDX-License-Identifier: GPL-2.0-or-later
/* The admin queue: commands about queues, and the way to the others. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>

#include "fdp.h"
#include "io.h"

/* Commands of one pass, so that a flood of them cannot keep CC from being seen. */
#define NVL_ADMIN_BATCH	64

/* No command is complete yet: an asynchronous event request is held. */
#define NVL_HELD	0xffff

/**
 * nvl_admin_reply() - send data to the host
 * @ctrl: the controller
 * @cmd: the command
 * @data: what to send
 * @have: bytes of @data; after them come zeros
 * @len: bytes the host wants, up to nvl_max_transfer()
 *
 * Return: status field.
 */
u16 nvl_admin_reply(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		    const void *data, u32 have, u32 len)
{
	u16 status;
	u32 nr;

	status = nvl_prp_map(ctrl, cmd, len, true, ctrl->segments, &nr);
	if (!status)
		nvl_scatter(ctrl->segments, nr, data, have);
	return status;
}

/**
 * nvl_admin_take() - take data from the host
 * @ctrl: the controller
 * @cmd: the command
 * @data: where to
 * @len: bytes, up to a page
 *
 * Return: status field.
 */
u16 nvl_admin_take(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		   void *data, u32 len)
{
	u16 status;
	u32 nr;

	status = nvl_prp_map(ctrl, cmd, len, false, ctrl->segments, &nr);
	if (!status)
		nvl_gather(ctrl->segments, data, len);
	return status;
}

static bool nvl_qid_valid(const struct nvl_ctrl *ctrl, u16 qid)
{
	return qid && qid <= ctrl->nr_queues;
}

static u16 nvl_queue_error(int err)
{
	return (err == -EFAULT ? NVME_SC_DATA_XFER_ERROR : NVME_SC_INTERNAL) | NVL_DNR;
}

/* What Create I/O Submission Queue and Completion Queue have in common. */
static u16 nvl_create_check(struct nvl_ctrl *ctrl, u16 flags, u16 size, u64 prp,
			    u8 entry_shift, u8 want_shift)
{
	if (!size || size >= ctrl->set->entries || entry_shift != want_shift)
		return NVME_SC_QUEUE_SIZE | NVL_DNR;
	if (!(flags & NVME_QUEUE_PHYS_CONTIG))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (offset_in_page(prp))
		return NVME_SC_PRP_INVALID_OFFSET | NVL_DNR;
	return 0;
}

static u16 nvl_create_cq(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	const struct nvme_create_cq *c = &cmd->create_cq;
	u16 qid = le16_to_cpu(c->cqid);
	u16 size = le16_to_cpu(c->qsize);
	u16 flags = le16_to_cpu(c->cq_flags);
	u64 prp = le64_to_cpu(c->prp1);
	struct nvl_cq *cq;
	u16 status;

	if (!nvl_qid_valid(ctrl, qid) || ctrl->cqs[qid])
		return NVME_SC_QID_INVALID | NVL_DNR;
	status = nvl_create_check(ctrl, flags, size, prp,
				  ctrl->cc >> NVME_CC_IOCQES_SHIFT & 0xf, NVME_NVM_IOCQES);
	if (status)
		return status;
	if (flags & NVME_CQ_IRQ_ENABLED && le16_to_cpu(c->irq_vector) >= ctrl->irqs.nr)
		return NVME_SC_INVALID_VECTOR | NVL_DNR;
	cq = nvl_cq_alloc(ctrl, qid, size + 1, prp);
	if (IS_ERR(cq))
		return nvl_queue_error(PTR_ERR(cq));
	cq->irq = flags & NVME_CQ_IRQ_ENABLED;
	cq->vector = cq->irq ? le16_to_cpu(c->irq_vector) : 0;
	cq->worker = nvl_worker_for(ctrl, cq);
	ctrl->cqs[qid] = cq;
	return 0;
}

static u16 nvl_create_sq(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	const struct nvme_create_sq *c = &cmd->create_sq;
	u16 qid = le16_to_cpu(c->sqid);
	u16 cqid = le16_to_cpu(c->cqid);
	u16 size = le16_to_cpu(c->qsize);
	u64 prp = le64_to_cpu(c->prp1);
	struct nvl_sq *sq;
	u16 status;

	if (!nvl_qid_valid(ctrl, qid) || ctrl->sqs[qid] || !nvl_qid_valid(ctrl, cqid))
		return NVME_SC_QID_INVALID | NVL_DNR;
	if (!ctrl->cqs[cqid])
		return NVME_SC_CQ_INVALID | NVL_DNR;
	status = nvl_create_check(ctrl, le16_to_cpu(c->sq_flags), size, prp,
				  ctrl->cc >> NVME_CC_IOSQES_SHIFT & 0xf, NVME_NVM_IOSQES);
	if (status)
		return status;
	sq = nvl_sq_alloc(ctrl, qid, size + 1, prp, ctrl->cqs[cqid]);
	if (IS_ERR(sq))
		return nvl_queue_error(PTR_ERR(sq));
	ctrl->sqs[qid] = sq;
	nvl_sq_attach(ctrl, sq);
	return 0;
}

static u16 nvl_delete_sq(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u16 qid = le16_to_cpu(cmd->delete_queue.qid);

	if (!nvl_qid_valid(ctrl, qid) || !ctrl->sqs[qid])
		return NVME_SC_QID_INVALID | NVL_DNR;
	nvl_sq_detach(ctrl, ctrl->sqs[qid]);
	nvl_sq_free(ctrl->sqs[qid]);
	ctrl->sqs[qid] = NULL;
	return 0;
}

static u16 nvl_delete_cq(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u16 qid = le16_to_cpu(cmd->delete_queue.qid);

	if (!nvl_qid_valid(ctrl, qid) || !ctrl->cqs[qid])
		return NVME_SC_QID_INVALID | NVL_DNR;
	if (ctrl->cqs[qid]->sqs)
		return NVME_SC_INVALID_QUEUE | NVL_DNR;
	nvl_irq_sync();
	nvl_cq_free(ctrl->cqs[qid]);
	ctrl->cqs[qid] = NULL;
	return 0;
}

/* Of admin commands only asynchronous event requests wait. */
static void nvl_abort_event(struct nvl_ctrl *ctrl, u16 cid, u32 *result)
{
	u8 i;

	for (i = 0; i < ctrl->nr_aers; i++) {
		if (ctrl->aers[i] != cid || !nvl_cq_room(ctrl->acq))
			continue;
		ctrl->aers[i] = ctrl->aers[--ctrl->nr_aers];
		ctrl->acq->promised++;
		nvl_cq_post(ctrl->acq, ctrl->asq, cid, NVME_SC_ABORT_REQ, 0);
		*result = 0;
		return;
	}
}

/* Bit 0 of the result says that the command was not aborted. */
static u16 nvl_abort(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result)
{
	u16 qid = le16_to_cpu(cmd->abort.sqid);
	struct nvl_sq *sq;

	*result = 1;
	if (!qid)
		nvl_abort_event(ctrl, cmd->abort.cid, result);
	if (!nvl_qid_valid(ctrl, qid))
		return qid ? NVME_SC_INVALID_FIELD | NVL_DNR : 0;
	sq = ctrl->sqs[qid];
	if (sq && nvl_worker_abort(sq->cq->worker, qid, cmd->abort.cid))
		*result = 0;
	return 0;
}

static u16 nvl_async_event(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	if (ctrl->nr_aers == NVL_MAX_AERS)
		return NVME_SC_ASYNC_LIMIT | NVL_DNR;
	/* held for as long as it takes: it must not use up the queue's room */
	ctrl->acq->promised--;
	ctrl->aers[ctrl->nr_aers++] = cmd->common.command_id;
	return NVL_HELD;
}

static u16 nvl_admin_execute(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
			     u32 *result)
{
	/* fused commands, SGLs: not offered */
	if (cmd->common.flags)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	switch (cmd->common.opcode) {
	case nvme_admin_delete_sq:
		return nvl_delete_sq(ctrl, cmd);
	case nvme_admin_create_sq:
		return nvl_create_sq(ctrl, cmd);
	case nvme_admin_get_log_page:
		return nvl_get_log(ctrl, cmd);
	case nvme_admin_delete_cq:
		return nvl_delete_cq(ctrl, cmd);
	case nvme_admin_create_cq:
		return nvl_create_cq(ctrl, cmd);
	case nvme_admin_identify:
		return nvl_identify(ctrl, cmd);
	case nvme_admin_abort_cmd:
		return nvl_abort(ctrl, cmd, result);
	case nvme_admin_set_features:
		return nvl_set_features(ctrl, cmd, result);
	case nvme_admin_get_features:
		return nvl_get_features(ctrl, cmd, result);
	case nvme_admin_async_event:
		return nvl_async_event(ctrl, cmd);
	case nvme_admin_ns_mgmt:
		return nvl_ns_management(ctrl, cmd, result);
	case nvme_admin_ns_attach:
		return nvl_ns_attachment(ctrl, cmd);
	case nvme_admin_format_nvm:
		return nvl_format(ctrl, cmd);
	case NVL_DIRECTIVE_SEND:
		return nvl_directive_send(ctrl, cmd);
	case NVL_DIRECTIVE_RECEIVE:
		return nvl_directive_receive(ctrl, cmd);
	default:
		return NVME_SC_INVALID_OPCODE | NVL_DNR;
	}
}

static bool nvl_admin_one(struct nvl_ctrl *ctrl)
{
	struct nvme_command cmd;
	u32 result = 0;
	u16 status;

	nvl_sq_fetch(ctrl->asq, &cmd);
	mutex_lock(&ctrl->subsys->admin_lock);
	status = nvl_admin_execute(ctrl, &cmd, &result);
	mutex_unlock(&ctrl->subsys->admin_lock);
	if (status == NVL_HELD)
		return false;
	if (status)
		nvl_log_error(ctrl, ctrl->asq, &cmd, status);
	nvl_cq_post(ctrl->acq, ctrl->asq, cmd.common.command_id, status, result);
	return true;
}

/**
 * nvl_admin_waits() - whether the admin doorbell moved; for the slow poll
 * @ctrl: the controller
 *
 * The queue itself is the control thread's alone.
 *
 * Return: true if so.
 */
bool nvl_admin_waits(struct nvl_ctrl *ctrl)
{
	return READ_ONCE(ctrl->state) == NVL_READY &&
	       READ_ONCE(*nvl_doorbell(ctrl, 0, false)) != READ_ONCE(ctrl->admin_head);
}

/**
 * nvl_admin_poll() - execute what is in the admin queue
 * @ctrl: the controller
 *
 * Return: true if there was something.
 */
bool nvl_admin_poll(struct nvl_ctrl *ctrl)
{
	bool posted = false;
	int done = 0;

	if (ctrl->state != NVL_READY)
		return false;
	while (done < NVL_ADMIN_BATCH && nvl_sq_ready(ctrl, ctrl->asq)) {
		posted |= nvl_admin_one(ctrl);
		done++;
	}
	WRITE_ONCE(ctrl->admin_head, ctrl->asq->head);
	nvl_health_poll(ctrl);
	posted |= nvl_events_post(ctrl);
	if (posted)
		nvl_irq_raise(ctrl, ctrl->acq->vector);
	return done || posted;
}
