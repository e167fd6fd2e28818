// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Controller registers (NVMe 1.4, 3.1). They are plain memory that the host
 * writes and the control thread compares with what it last acted upon.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "nvlab.h"
#include "trace.h"

/* CAP.TO in units of 500 ms: resets wait for copies that are under way. */
#define NVL_CAP_TO	40
#define NVL_CAP_TO_MAX	255

static u32 nvl_reg_read(const struct nvl_ctrl *ctrl, u32 reg)
{
	return READ_ONCE(*(u32 *)(ctrl->bar + reg));
}

static u64 nvl_reg_read64(const struct nvl_ctrl *ctrl, u32 reg)
{
	return nvl_reg_read(ctrl, reg) | (u64)nvl_reg_read(ctrl, reg + 4) << 32;
}

static void nvl_reg_write(struct nvl_ctrl *ctrl, u32 reg, u32 value)
{
	/* what it announces has happened */
	smp_store_release((u32 *)(ctrl->bar + reg), value);
}

/**
 * nvl_doorbell() - where a doorbell is
 * @ctrl: the controller
 * @qid: of the queue
 * @cq: completion queue head, else submission queue tail
 *
 * Return: its address.
 */
u32 *nvl_doorbell(struct nvl_ctrl *ctrl, u16 qid, bool cq)
{
	return (u32 *)(ctrl->bar + NVL_DOORBELLS +
		       (2 * qid + cq) * (4 << NVL_DSTRD));
}

/* What becomes of a power cut comes on top; drivers wait no longer than this for CSTS.RDY. */
static u64 nvl_cap_timeout(const struct nvl_ctrl *ctrl)
{
	u32 recovery = nvl_has_flash(ctrl->set) ? ctrl->set->medium.recovery : 0;

	return min_t(u64, NVL_CAP_TO + DIV_ROUND_UP(recovery, 500), NVL_CAP_TO_MAX);
}

/**
 * nvl_regs_init() - registers as after power on
 * @ctrl: the controller
 */
void nvl_regs_init(struct nvl_ctrl *ctrl)
{
	u64 cap = (ctrl->set->entries - 1) |	/* MQES */
		  1ULL << 16 |			/* CQR */
		  nvl_cap_timeout(ctrl) << 24 |
		  (u64)NVL_DSTRD << 32 |
		  1ULL << 37 |			/* CSS: NVM command set */
		  (nvl_has_sets(ctrl->set) ? 1ULL << 43 : 0); /* and others */

	memset(ctrl->bar, 0, NVL_BAR_SIZE);
	nvl_reg_write(ctrl, NVME_REG_CAP, lower_32_bits(cap));
	nvl_reg_write(ctrl, NVME_REG_CAP + 4, upper_32_bits(cap));
	nvl_reg_write(ctrl, NVME_REG_VS, NVME_VS(1, 4, 0));
	nvl_irq_reset(ctrl);
	nvl_features_reset(ctrl);
}

static void nvl_regs_forget(struct nvl_ctrl *ctrl)
{
	nvl_queues_drop(ctrl);
	nvl_events_reset(ctrl);
	nvl_features_reset(ctrl);
	if (nvl_ctrl_alone(ctrl))
		nvl_core_reset(ctrl->subsys);
}

static int nvl_regs_admin_queue(struct nvl_ctrl *ctrl)
{
	u64 asq = ctrl->asq_at & GENMASK_ULL(63, 12);
	u64 acq = ctrl->acq_at & GENMASK_ULL(63, 12);
	u16 sq_size = (ctrl->aqa & 0xfff) + 1;
	u16 cq_size = (ctrl->aqa >> 16 & 0xfff) + 1;
	struct nvl_cq *cq;
	struct nvl_sq *sq;

	if (sq_size < 2 || cq_size < 2)
		return -EINVAL;
	cq = nvl_cq_alloc(ctrl, 0, cq_size, acq);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	cq->irq = true;
	sq = nvl_sq_alloc(ctrl, 0, sq_size, asq, cq);
	if (IS_ERR(sq)) {
		nvl_cq_free(cq);
		return PTR_ERR(sq);
	}
	ctrl->acq = cq;
	ctrl->asq = sq;
	return 0;
}

/* What CAP does not offer: command sets, arbitrations, page sizes. */
static bool nvl_cc_valid(const struct nvl_ctrl *ctrl, u32 cc)
{
	u32 mps_ams = cc & (0xf << NVME_CC_MPS_SHIFT | 7 << NVME_CC_AMS_SHIFT);
	u32 css = cc & NVME_CC_CSS_MASK;

	return !mps_ams && (!css || (css == NVME_CC_CSS_CSI && nvl_has_sets(ctrl->set)));
}

static void nvl_regs_enable(struct nvl_ctrl *ctrl, u32 cc)
{
	ctrl->aqa = nvl_reg_read(ctrl, NVME_REG_AQA);
	ctrl->asq_at = nvl_reg_read64(ctrl, NVME_REG_ASQ);
	ctrl->acq_at = nvl_reg_read64(ctrl, NVME_REG_ACQ);
	if (!nvl_cc_valid(ctrl, cc) || nvl_regs_admin_queue(ctrl)) {
		pr_warn("%s: cannot be enabled: CC 0x%x, AQA 0x%x, ASQ 0x%llx, ACQ 0x%llx\n",
			ctrl->name, cc, ctrl->aqa, ctrl->asq_at, ctrl->acq_at);
		ctrl->state = NVL_REFUSED;
		nvl_reg_write(ctrl, NVME_REG_CSTS, NVME_CSTS_CFS);
		return;
	}
	ctrl->state = NVL_READY;
	nvl_reg_write(ctrl, NVME_REG_CSTS, NVME_CSTS_RDY);
}

/* Only when this has returned may the host take its memory back. */
static void nvl_regs_disable(struct nvl_ctrl *ctrl)
{
	nvl_regs_forget(ctrl);
	memset(ctrl->bar + NVL_DOORBELLS, 0,
	       2 * (ctrl->nr_queues + 1) * (4 << NVL_DSTRD));
	ctrl->state = NVL_DISABLED;
	nvl_reg_write(ctrl, NVME_REG_CSTS, 0);
}

static void nvl_regs_shutdown(struct nvl_ctrl *ctrl)
{
	u32 rdy = ctrl->state == NVL_READY ? NVME_CSTS_RDY : 0;

	nvl_regs_forget(ctrl);
	ctrl->state = NVL_SHUT;
	nvl_reg_write(ctrl, NVME_REG_CSTS, rdy | NVME_CSTS_SHST_CMPLT);
}

static void nvl_regs_flr(struct nvl_ctrl *ctrl)
{
	nvl_regs_disable(ctrl);
	nvl_regs_init(ctrl);
	ctrl->cc = 0;
}

/*
 * Where CSTS.RDY is 0 a host need not wait for anything, and turns CC.EN off and on
 * again before we look. What else it wrote meanwhile tells.
 */
static bool nvl_regs_again(const struct nvl_ctrl *ctrl, u32 cc)
{
	if (!(cc & ctrl->cc & NVME_CC_ENABLE) || cc & NVME_CC_SHN_MASK)
		return false;
	if (READ_ONCE(ctrl->state) == NVL_SHUT)
		return cc != ctrl->cc;
	return READ_ONCE(ctrl->state) == NVL_REFUSED &&
	       (cc != ctrl->cc || nvl_reg_read(ctrl, NVME_REG_AQA) != ctrl->aqa ||
		nvl_reg_read64(ctrl, NVME_REG_ASQ) != ctrl->asq_at ||
		nvl_reg_read64(ctrl, NVME_REG_ACQ) != ctrl->acq_at);
}

static void nvl_regs_cc(struct nvl_ctrl *ctrl, u32 cc)
{
	bool again = nvl_regs_again(ctrl, cc);
	u32 changed = cc ^ ctrl->cc;

	ctrl->cc = cc;
	if (again || (changed & NVME_CC_ENABLE && !(cc & NVME_CC_ENABLE)))
		nvl_regs_disable(ctrl);
	if (again || (changed & NVME_CC_ENABLE && cc & NVME_CC_ENABLE))
		nvl_regs_enable(ctrl, cc);
	if (changed & NVME_CC_SHN_MASK && cc & NVME_CC_SHN_MASK)
		nvl_regs_shutdown(ctrl);
}

/* A fault: the host has to reset it. */
static void nvl_regs_fail(struct nvl_ctrl *ctrl)
{
	nvl_regs_forget(ctrl);
	ctrl->state = NVL_FAILED;
	nvl_reg_write(ctrl, NVME_REG_CSTS, NVME_CSTS_RDY | NVME_CSTS_CFS);
	clear_bit(NVL_TROUBLE_FATAL, &ctrl->trouble);
}

/* A fault: nobody will ever find it again. */
static void nvl_regs_lose_link(struct nvl_ctrl *ctrl)
{
	nvl_regs_forget(ctrl);
	memset(ctrl->bar, 0xff, NVL_BAR_SIZE);
	WRITE_ONCE(ctrl->state, NVL_GONE);
	nvl_pci_unplug(ctrl);
}

static void nvl_regs_trouble(struct nvl_ctrl *ctrl)
{
	if (test_bit(NVL_TROUBLE_UNPLUG, &ctrl->trouble))
		nvl_regs_lose_link(ctrl);
	else
		nvl_regs_fail(ctrl);
}

/**
 * nvl_regs_moved() - whether the host asked something of the control thread
 * @ctrl: the controller
 *
 * Return: true if CC changed, or what is to be enabled.
 */
bool nvl_regs_moved(const struct nvl_ctrl *ctrl)
{
	u32 cc = nvl_reg_read(ctrl, NVME_REG_CC);

	return READ_ONCE(ctrl->state) != NVL_GONE &&
	       (cc != READ_ONCE(ctrl->cc) || nvl_regs_again(ctrl, cc));
}

/**
 * nvl_regs_poll() - act upon CC and upon resets
 * @ctrl: the controller
 *
 * Return: true if there was something to do.
 */
bool nvl_regs_poll(struct nvl_ctrl *ctrl)
{
	u32 flrs = READ_ONCE(ctrl->flrs);
	u32 cc;

	if (ctrl->state == NVL_GONE)
		return false;
	if (READ_ONCE(ctrl->trouble)) {
		nvl_regs_trouble(ctrl);
		return true;
	}
	if (flrs != ctrl->flrs_done) {
		nvl_regs_flr(ctrl);
		/* from now on it answers */
		smp_store_release(&ctrl->flrs_done, flrs);
		return true;
	}
	cc = nvl_reg_read(ctrl, NVME_REG_CC);
	if (cc == ctrl->cc && !nvl_regs_again(ctrl, cc))
		return false;
	/* after a power cut it takes its time; the caller comes back */
	if (ktime_get_ns() >= ctrl->subsys->ready)
		nvl_regs_cc(ctrl, cc);
	return true;
}

/**
 * nvl_regs_stop() - let go of the host's memory for good
 * @ctrl: the controller
 */
void nvl_regs_stop(struct nvl_ctrl *ctrl)
{
	/* pulled while the host used it */
	ctrl->unsafe = ctrl->state == NVL_READY || ctrl->state == NVL_GONE;
	nvl_queues_drop(ctrl);
}
