/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt vectors. */
#ifndef NVLAB_IRQ_H
#define NVLAB_IRQ_H

#include <linux/irq_work.h>
#include <linux/smp.h>
#include <linux/types.h>

#include "queue.h"

struct nvl_ctrl;

/**
 * struct nvl_vector - one MSI-X vector
 * @ctrl: its controller
 * @index: its place in the MSI-X table
 * @virq: Linux' number for it, 0 while nobody has it
 * @cpu: the CPU that takes it
 * @csd: carries it to @cpu
 * @work: carries it out of irq_unmask
 */
struct nvl_vector {
	struct nvl_ctrl *ctrl;
	u16 index;
	unsigned int virq;
	unsigned int cpu;
	call_single_data_t csd;
	struct irq_work work;
} ____cacheline_aligned_in_smp;

/**
 * struct nvl_irqs - the vectors and the domains they come from
 * @vectors: by index
 * @nr: how many
 * @pending: by index, whether it was raised while it was masked
 * @inner: gives a vector a Linux interrupt
 * @msi: what PCI sees
 * @inner_node: names @inner
 * @msi_node: names @msi
 */
struct nvl_irqs {
	struct nvl_vector *vectors;
	u16 nr;
	DECLARE_BITMAP(pending, NVL_MAX_QUEUES + 1);
	struct irq_domain *inner;
	struct irq_domain *msi;
	struct fwnode_handle *inner_node;
	struct fwnode_handle *msi_node;
};

/* irq.c */
int nvl_irq_init(struct nvl_ctrl *ctrl);
void nvl_irq_exit(struct nvl_ctrl *ctrl);
void nvl_irq_raise(struct nvl_ctrl *ctrl, u16 index);
void nvl_irq_poll(struct nvl_ctrl *ctrl);
void nvl_irq_reset(struct nvl_ctrl *ctrl);
void nvl_irq_sync(void);
const struct cpumask *nvl_irq_affinity(struct nvl_ctrl *ctrl, u16 index);

#endif
