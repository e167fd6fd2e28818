// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MSI-X of our own: no interrupt controller is behind these vectors, so neither
 * the APIC nor interrupt remapping has a say. A vector is raised by calling its
 * handler on the CPU it has affinity to.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <linux/slab.h>

#include "nvlab.h"

static struct nvl_vector *nvl_vector_of(struct irq_data *outer)
{
	return irq_data_get_irq_chip_data(outer->parent_data);
}

/* Entry of the MSI-X table, as PCI 3.0, 6.8.2 lays it out. */
static u32 *nvl_vector_control(const struct nvl_vector *v)
{
	u8 *entry = v->ctrl->bar + NVL_MSIX_TABLE +
		    v->index * PCI_MSIX_ENTRY_SIZE;

	return (u32 *)(entry + PCI_MSIX_ENTRY_VECTOR_CTRL);
}

/* The table and not irq_mask() decides, so that other drivers can mask too. */
static bool nvl_vector_masked(const struct nvl_vector *v)
{
	return READ_ONCE(*nvl_vector_control(v)) & PCI_MSIX_ENTRY_CTRL_MASKBIT ||
	       nvl_pci_msix_flags(v->ctrl) & PCI_MSIX_FLAGS_MASKALL;
}

/* The host may read it, and write to it; we go by what we noted ourselves. */
static unsigned long *nvl_pending_array(struct nvl_ctrl *ctrl)
{
	return (unsigned long *)(ctrl->bar + NVL_MSIX_PBA);
}

static void nvl_vector_latch(struct nvl_vector *v)
{
	set_bit(v->index, v->ctrl->irqs.pending);
	set_bit(v->index, nvl_pending_array(v->ctrl));
	smp_mb__after_atomic(); /* pairs with irq_unmask's write, and nvl_irq_poll() */
}

/* Of all who see a vector unmasked, one delivers it. */
static bool nvl_vector_unlatch(struct nvl_vector *v)
{
	if (!test_and_clear_bit(v->index, v->ctrl->irqs.pending))
		return false;
	clear_bit(v->index, nvl_pending_array(v->ctrl));
	return true;
}

/* On a CPU that idles by polling this runs outside of hard interrupt context. */
static void nvl_vector_arrive(void *data)
{
	struct nvl_vector *v = data;
	unsigned int virq = READ_ONCE(v->virq);

	if (virq)
		generic_handle_irq_safe(virq);
}

static void nvl_vector_work(struct irq_work *work)
{
	nvl_vector_arrive(container_of(work, struct nvl_vector, work));
}

/* Here, no need for the detour: the handler runs, then what it left to do. */
static void nvl_vector_arrive_here(struct nvl_vector *v)
{
	local_bh_disable();
	nvl_vector_arrive(v);
	local_bh_enable();
}

static void nvl_vector_send(struct nvl_vector *v)
{
	unsigned int cpu = READ_ONCE(v->cpu);

	if (cpu == get_cpu())
		nvl_vector_arrive_here(v);
	/* -EBUSY: one is on its way, and will see what we completed */
	else if (smp_call_function_single_async(cpu, &v->csd) == -ENXIO)
		nvl_vector_arrive_here(v);
	put_cpu();
}

/**
 * nvl_irq_raise() - raise a vector; no spinlock may be held
 * @ctrl: the controller
 * @index: of the vector
 */
void nvl_irq_raise(struct nvl_ctrl *ctrl, u16 index)
{
	struct nvl_vector *v = &ctrl->irqs.vectors[index];

	if (!(nvl_pci_msix_flags(ctrl) & PCI_MSIX_FLAGS_ENABLE))
		return;
	if (nvl_vector_masked(v)) {
		nvl_vector_latch(v);
		if (nvl_vector_masked(v) || !nvl_vector_unlatch(v))
			return;
	}
	smp_mb(); /* completions before the interrupt, whoever carries it */
	nvl_vector_send(v);
}

/**
 * nvl_irq_poll() - deliver what is pending and masked no longer; no spinlock may be held
 * @ctrl: the controller
 *
 * Who clears a mask bit in the table or the capability, not by irq_unmask, tells nobody.
 */
void nvl_irq_poll(struct nvl_ctrl *ctrl)
{
	unsigned long index;

	for_each_set_bit(index, ctrl->irqs.pending, ctrl->irqs.nr) {
		struct nvl_vector *v = &ctrl->irqs.vectors[index];

		if (!nvl_vector_masked(v) && nvl_vector_unlatch(v))
			nvl_vector_send(v);
	}
}

static void nvl_nothing(void *unused)
{
}

/**
 * nvl_irq_sync() - wait until what was raised has arrived
 */
void nvl_irq_sync(void)
{
	on_each_cpu(nvl_nothing, NULL, 1);
}

/**
 * nvl_irq_affinity() - CPUs that a vector is meant for
 * @ctrl: the controller
 * @index: of the vector
 *
 * Return: the mask, or NULL if nobody has the vector.
 */
const struct cpumask *nvl_irq_affinity(struct nvl_ctrl *ctrl, u16 index)
{
	unsigned int virq = READ_ONCE(ctrl->irqs.vectors[index].virq);
	struct irq_data *data = virq ? irq_get_irq_data(virq) : NULL;

	return data ? irq_data_get_affinity_mask(data) : NULL;
}

static void nvl_irq_unmask(struct irq_data *data)
{
	struct nvl_vector *v = nvl_vector_of(data);

	pci_msi_unmask_irq(data);
	smp_mb(); /* pairs with nvl_vector_latch() */
	/* the caller holds the descriptor's lock: never handle it from here */
	if (!nvl_vector_masked(v) && nvl_vector_unlatch(v))
		irq_work_queue(&v->work);
}

static void nvl_inner_ack(struct irq_data *data)
{
}

static void nvl_inner_compose(struct irq_data *data, struct msi_msg *msg)
{
	const struct nvl_vector *v = irq_data_get_irq_chip_data(data);

	/* nobody reads it; lspci shows which vector it is */
	memset(msg, 0, sizeof(*msg));
	msg->data = v->index;
}

static int nvl_inner_set_affinity(struct irq_data *data,
				  const struct cpumask *mask, bool force)
{
	struct nvl_vector *v = irq_data_get_irq_chip_data(data);
	unsigned int cpu = cpumask_any_and(mask, cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		return -EINVAL;
	WRITE_ONCE(v->cpu, cpu);
	irq_data_update_effective_affinity(data, cpumask_of(cpu));
	return IRQ_SET_MASK_OK;
}

static struct irq_chip nvl_inner_chip = {
	.name			= "nvlab",
	.irq_ack		= nvl_inner_ack,
	.irq_compose_msi_msg	= nvl_inner_compose,
	.irq_set_affinity	= nvl_inner_set_affinity,
};

static int nvl_inner_alloc(struct irq_domain *domain, unsigned int virq,
			   unsigned int nr, void *arg)
{
	const msi_alloc_info_t *info = arg;
	struct nvl_irqs *irqs = domain->host_data;
	u16 index = info->desc->msi_index;

	if (nr != 1 || index >= irqs->nr)
		return -EINVAL;
	irq_domain_set_info(domain, virq, index, &nvl_inner_chip,
			    &irqs->vectors[index], handle_edge_irq, NULL, NULL);
	WRITE_ONCE(irqs->vectors[index].virq, virq);
	return 0;
}

static void nvl_inner_free(struct irq_domain *domain, unsigned int virq,
			   unsigned int nr)
{
	struct irq_data *data = irq_domain_get_irq_data(domain, virq);
	struct nvl_vector *v = irq_data_get_irq_chip_data(data);

	WRITE_ONCE(v->virq, 0);
	nvl_vector_unlatch(v);
	irq_domain_reset_irq_data(data);
}

static const struct irq_domain_ops nvl_inner_ops = {
	.alloc	= nvl_inner_alloc,
	.free	= nvl_inner_free,
};

static struct irq_chip nvl_msi_chip = {
	.name			= "nvlab-MSI-X",
	.irq_ack		= irq_chip_ack_parent,
	.irq_unmask		= nvl_irq_unmask,
	.flags			= IRQCHIP_SKIP_SET_WAKE,
};

static struct msi_domain_info nvl_msi_info = {
	.flags	= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
		  MSI_FLAG_PCI_MSIX,
	.chip	= &nvl_msi_chip,
};

static struct irq_domain *nvl_msi_create(struct nvl_irqs *irqs)
{
	struct irq_domain *domain;

	domain = pci_msi_create_irq_domain(irqs->msi_node, &nvl_msi_info,
					   irqs->inner);
	/*
	 * Interrupt remapping replaces the domain of every new PCI device by its
	 * own, or by none, unless it looks like one of VMD's.
	 */
	if (domain)
		irq_domain_update_bus_token(domain, DOMAIN_BUS_VMD_MSI);
	return domain;
}

static int nvl_irq_domains(struct nvl_ctrl *ctrl)
{
	struct nvl_irqs *irqs = &ctrl->irqs;

	irqs->inner_node = irq_domain_alloc_named_id_fwnode("nvlab", ctrl->id);
	if (!irqs->inner_node)
		return -ENOMEM;
	irqs->inner = irq_domain_create_linear(irqs->inner_node, irqs->nr,
					       &nvl_inner_ops, irqs);
	if (!irqs->inner)
		goto free_inner_node;
	irqs->msi_node = irq_domain_alloc_named_id_fwnode("nvlab-MSI-X", ctrl->id);
	if (!irqs->msi_node)
		goto remove_inner;
	irqs->msi = nvl_msi_create(irqs);
	if (!irqs->msi)
		goto free_msi_node;
	return 0;

free_msi_node:
	irq_domain_free_fwnode(irqs->msi_node);
remove_inner:
	irq_domain_remove(irqs->inner);
free_inner_node:
	irq_domain_free_fwnode(irqs->inner_node);
	return -ENOMEM;
}

static void nvl_vector_init(struct nvl_ctrl *ctrl, u16 index)
{
	struct nvl_vector *v = &ctrl->irqs.vectors[index];

	v->ctrl = ctrl;
	v->index = index;
	INIT_CSD(&v->csd, nvl_vector_arrive, v);
	init_irq_work(&v->work, nvl_vector_work);
}

/**
 * nvl_irq_reset() - the MSI-X table as after reset: everything masked, nothing pending
 * @ctrl: the controller
 */
void nvl_irq_reset(struct nvl_ctrl *ctrl)
{
	u16 i;

	for (i = 0; i < ctrl->irqs.nr; i++) {
		WRITE_ONCE(*nvl_vector_control(&ctrl->irqs.vectors[i]),
			   PCI_MSIX_ENTRY_CTRL_MASKBIT);
		nvl_vector_unlatch(&ctrl->irqs.vectors[i]);
	}
}

/**
 * nvl_irq_init() - make a vector for each queue, and the domains
 * @ctrl: the controller
 *
 * Return: 0 or -ENOMEM.
 */
int nvl_irq_init(struct nvl_ctrl *ctrl)
{
	struct nvl_irqs *irqs = &ctrl->irqs;
	u16 i;
	int err;

	irqs->nr = ctrl->nr_queues + 1;
	irqs->vectors = kvcalloc(irqs->nr, sizeof(*irqs->vectors), GFP_KERNEL);
	if (!irqs->vectors)
		return -ENOMEM;
	for (i = 0; i < irqs->nr; i++)
		nvl_vector_init(ctrl, i);
	err = nvl_irq_domains(ctrl);
	if (err)
		kvfree(irqs->vectors);
	return err;
}

/**
 * nvl_irq_exit() - undo nvl_irq_init(), with no device left on the bus
 * @ctrl: the controller
 */
void nvl_irq_exit(struct nvl_ctrl *ctrl)
{
	struct nvl_irqs *irqs = &ctrl->irqs;
	u16 i;

	nvl_irq_sync();
	for (i = 0; i < irqs->nr; i++)
		irq_work_sync(&irqs->vectors[i].work);
	irq_domain_remove(irqs->msi);
	irq_domain_free_fwnode(irqs->msi_node);
	irq_domain_remove(irqs->inner);
	irq_domain_free_fwnode(irqs->inner_node);
	kvfree(irqs->vectors);
}
