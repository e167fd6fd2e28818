/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nvlab: a virtual NVMe controller in reserved memory.
 *
 * A nvl_device is a directory in configfs: what the user asked for. While its
 * power is on there is a nvl_subsys, made afresh each time: storage, model and
 * namespaces, and one nvl_ctrl or more, which are what hosts see of it.
 */
#ifndef NVLAB_H
#define NVLAB_H

#include <linux/configfs.h>
#include <linux/cpumask.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nvme.h>
#include <linux/pci.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "admin.h"
#include "device.h"
#include "irq.h"
#include "nvc_ssd.h"
#include "queue.h"
#include "subsys.h"

#define NVL_VERSION		"0.1.0"

#define NVL_PCI_VENDOR		0x4e56
#define NVL_PCI_DEVICE		0x4c41

/* The region begins with a BAR0 for each controller; the rest of it is storage. */
#define NVL_BAR_SIZE		SZ_1M
#define NVL_DOORBELLS		0x1000
#define NVL_MSIX_TABLE		0x80000
#define NVL_MSIX_PBA		0x90000

/* A cache line for each doorbell: 4 << DSTRD bytes. */
#define NVL_DSTRD		4
#define NVL_MAX_MDTS		8
#define NVL_MAX_PAGES		((1 << NVL_MAX_MDTS) + 1)
#define NVL_DNR			0x4000

/* Kelvin. */
#define NVL_TEMPERATURE		300
#define NVL_WARNING_TEMPERATURE	343
#define NVL_CRITICAL_TEMPERATURE 353

/**
 * enum nvl_ctrl_state - as the control thread sees it
 * @NVL_DISABLED: CC.EN is 0
 * @NVL_READY: CSTS.RDY is 1
 * @NVL_SHUT: shut down; waits for CC.EN to become 0
 * @NVL_FAILED: CSTS.CFS is 1
 * @NVL_REFUSED: CSTS.CFS is 1, as what CC and the admin queue asked for is not to be had
 * @NVL_GONE: the link is lost: everything reads as ones
 */
enum nvl_ctrl_state {
	NVL_DISABLED,
	NVL_READY,
	NVL_SHUT,
	NVL_FAILED,
	NVL_REFUSED,
	NVL_GONE,
};

/**
 * enum nvl_trouble - what a fault did to the controller, as bits
 * @NVL_TROUBLE_FATAL: it shall report a fatal status
 * @NVL_TROUBLE_UNPLUG: the link is lost
 * @NVL_TROUBLE_DARK: it has no power: it does nothing at all, and says nothing
 */
enum nvl_trouble {
	NVL_TROUBLE_FATAL,
	NVL_TROUBLE_UNPLUG,
	NVL_TROUBLE_DARK,
};

/**
 * struct nvl_ctrl - a running controller
 * @sysdata: what x86 wants of a root bus; first, as x86 casts to it
 * @subsys: the subsystem it is one of the controllers of
 * @index: its place in the subsystem; its identifier there is one more
 * @name: of the device, and of several controllers which
 * @set: settings of the device
 * @node: in the list of running controllers
 * @id: tells PCI domains apart
 * @window: what the root bus hands out: BAR0
 * @bar: BAR0, mapped write-through as the nvme driver's mapping allows
 * @irqs: the vectors
 * @bus: the root bus
 * @busn: its bus number
 * @config: PCI configuration space
 * @dma: Bus Master is on and the function in D0: host memory may be touched
 * @flrs: function level resets that were asked for
 * @flrs_done: of them, those carried out; until then it does not answer
 * @trouble: bits of enum nvl_trouble; with any set nothing is fetched or completed
 * @unplug: has the PCI core notice that the link is lost
 * @changed: namespaces that changed since the host last asked which
 * @debug: statistics in debugfs
 * @workers: threads that serve I/O queues
 * @nr_workers: how many
 * @by_queue: the worker of each submission queue, for the announcements
 * @task: the control thread: registers and the admin queue
 * @kicked: the control thread has something to look at
 * @state: where CC and CSTS stand
 * @cc: the value of CC acted upon
 * @aqa: that of AQA when it was last to be enabled
 * @asq_at: that of ASQ
 * @acq_at: that of ACQ
 * @admin_head: where the admin queue was fetched up to, for others to see
 * @asq: admin submission queue
 * @acq: admin completion queue
 * @sqs: I/O submission queues by identifier
 * @cqs: I/O completion queues by identifier
 * @nr_queues: I/O queues of each sort there can be
 * @feat: features
 * @coalescing: of @feat, for workers to see
 * @reset_at: when the controller was last reset, ns
 * @health: as it was when it was last looked at
 * @looked: jiffies, when that was
 * @warned: critical warnings that the host was told, as bits of SMART's
 * @vector_config: coalescing disabled, by vector
 * @aers: identifiers of the asynchronous event requests held
 * @nr_aers: how many
 * @events: asynchronous events that happened, as bits of enum nvl_event
 * @masked: of them, sent and not yet cleared by reading the log
 * @segments: host memory of the admin command in hand
 * @page: data of the admin command in hand
 * @errors: the error log
 * @slow: commands that only the slow poll found
 * @unsafe: the power went off while the host used it
 */
struct nvl_ctrl {
	struct pci_sysdata sysdata;
	struct nvl_subsys *subsys;
	unsigned int index;
	char name[NVL_NAME_MAX + 4];
	const struct nvl_settings *set;
	struct list_head node;
	int id;

	struct resource window;
	u8 *bar;
	struct nvl_irqs irqs;

	struct pci_bus *bus;
	struct resource busn;
	u8 config[PCI_CFG_SPACE_EXP_SIZE];
	bool dma;
	u32 flrs;
	u32 flrs_done;
	unsigned long trouble;
	struct work_struct unplug;

	DECLARE_BITMAP(changed, NVC_MAX_NS + 1);
	struct dentry *debug;

	struct nvl_worker *workers;
	unsigned int nr_workers;
	struct nvl_worker *by_queue[NVL_MAX_QUEUES + 1];

	struct task_struct *task;
	bool kicked;
	enum nvl_ctrl_state state;
	u32 cc;
	u32 aqa;
	u64 asq_at;
	u64 acq_at;
	u32 admin_head;
	struct nvl_sq *asq;
	struct nvl_cq *acq;
	struct nvl_sq *sqs[NVL_MAX_QUEUES + 1];
	struct nvl_cq *cqs[NVL_MAX_QUEUES + 1];
	u16 nr_queues;
	struct nvl_features feat;
	u32 coalescing;
	u64 reset_at;
	struct nvc_health health;
	unsigned long looked;
	u8 warned;
	DECLARE_BITMAP(vector_config, NVL_MAX_QUEUES + 1);
	u16 aers[NVL_MAX_AERS];
	u8 nr_aers;
	unsigned long events;
	unsigned long masked;
	struct nvl_segment *segments;
	void *page;
	struct nvl_error_log errors;
	atomic64_t slow;
	bool unsafe;
};

/**
 * nvl_max_transfer() - the longest data of a command
 * @ctrl: the controller
 *
 * Return: bytes.
 */
static inline u32 nvl_max_transfer(const struct nvl_ctrl *ctrl)
{
	return SZ_4K << ctrl->set->mdts;
}

/**
 * nvl_ctrl_acts() - whether commands are fetched and completed
 * @ctrl: the controller
 *
 * Return: false while host memory may not be touched, or after a fault.
 */
static inline bool nvl_ctrl_acts(const struct nvl_ctrl *ctrl)
{
	return READ_ONCE(ctrl->dma) && !READ_ONCE(ctrl->trouble);
}

/**
 * nvl_ctrl_sets() - whether a host sees namespaces of other command sets than NVM
 * @ctrl: the controller
 *
 * Return: true if it enabled all command sets (CC.CSS 110b), not the NVM command set alone.
 */
static inline bool nvl_ctrl_sets(const struct nvl_ctrl *ctrl)
{
	return (READ_ONCE(ctrl->cc) & NVME_CC_CSS_MASK) == NVME_CC_CSS_CSI;
}

/* stats.c */
void nvl_stats_init(void);
void nvl_stats_exit(void);
void nvl_stats_add(struct nvl_ctrl *ctrl);
void nvl_stats_del(struct nvl_ctrl *ctrl);
ssize_t nvl_device_stats(struct nvl_device *device, char *page);
u64 nvl_waf(const struct nvc_ssd_stats *stats);

/* fault.c */
void nvl_faults_init(struct nvl_device *device);
void nvl_fault_lose(struct nvl_worker *w, struct nvl_sq *sq, u16 fault);

/* ctrl.c */
struct nvl_ctrl *nvl_ctrl_alloc(struct nvl_subsys *subsys, unsigned int index);
void nvl_ctrl_free(struct nvl_ctrl *ctrl);
int nvl_ctrl_start(struct nvl_ctrl *ctrl);
int nvl_ctrl_show(struct nvl_ctrl *ctrl);
void nvl_ctrl_hide(struct nvl_ctrl *ctrl);
void nvl_ctrl_stop(struct nvl_ctrl *ctrl);
bool nvl_ctrl_alone(const struct nvl_ctrl *ctrl);

/* region.c */
int nvl_bar_map(struct nvl_ctrl *ctrl);
void nvl_bar_unmap(struct nvl_ctrl *ctrl);

/* pci.c */
struct nvl_ctrl *nvl_pci_ctrl(struct device *dev);
void nvl_pci_init(struct nvl_ctrl *ctrl);
int nvl_pci_add(struct nvl_ctrl *ctrl);
void nvl_pci_remove(struct nvl_ctrl *ctrl);
void nvl_pci_unplug(struct nvl_ctrl *ctrl);
u16 nvl_pci_msix_flags(const struct nvl_ctrl *ctrl);
void nvl_pci_name(const struct nvl_ctrl *ctrl, char *buf, size_t len);

/* control.c */
int nvl_control_start(struct nvl_ctrl *ctrl);
void nvl_control_stop(struct nvl_ctrl *ctrl);
void nvl_control_kick(struct nvl_ctrl *ctrl);

/* regs.c */
void nvl_regs_init(struct nvl_ctrl *ctrl);
bool nvl_regs_moved(const struct nvl_ctrl *ctrl);
bool nvl_regs_poll(struct nvl_ctrl *ctrl);
void nvl_regs_stop(struct nvl_ctrl *ctrl);
u32 *nvl_doorbell(struct nvl_ctrl *ctrl, u16 qid, bool cq);

/* wake.c */
int nvl_wake_init(void);
void nvl_wake_exit(void);
void nvl_wake_poll(void);
void nvl_wake_add(struct nvl_ctrl *ctrl);
void nvl_wake_del(struct nvl_ctrl *ctrl);

/* io.c */
u32 nvl_io(struct nvl_worker *w, struct nvl_sq *sq, const struct nvme_command *cmd);

/* prp.c */
void *nvl_ram_range(struct nvl_ctrl *ctrl, u64 dma, size_t len, bool write);
u16 nvl_prp_map(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 len, bool write,
		struct nvl_segment *segments, u32 *nr);

#endif
