// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A root bus with one function on it. All that is x86 is in this file: the
 * bus's sysdata.
 *
 * BAR0 is described by Enhanced Allocation (PCI code and ID assignment 14h):
 * it says where the BAR is for good, where an ordinary BAR would be moved to
 * where there is no memory of ours, at the latest on remove and rescan.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include "nvlab.h"

#define NVL_PCI_DOMAIN	0x1000

/* where the capabilities are */
#define NVL_CAP_PM	0x40
#define NVL_CAP_MSIX	0x50
#define NVL_CAP_EXP	0x60
#define NVL_CAP_EA	0xa0

static u16 nvl_config16(const struct nvl_ctrl *ctrl, int where)
{
	return ctrl->config[where] | ctrl->config[where + 1] << 8;
}

static void nvl_config_set(struct nvl_ctrl *ctrl, int where, int size, u32 value)
{
	for (; size--; value >>= 8)
		ctrl->config[where++] = value;
}

/* Bits of each byte that software can write. */
static const struct {
	u16 where;
	u8 mask;
} nvl_config_writable[] = {
	{ PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY },
	{ PCI_COMMAND + 1, (PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE) >> 8 },
	{ PCI_CACHE_LINE_SIZE, 0xff },
	{ PCI_INTERRUPT_LINE, 0xff },
	{ NVL_CAP_PM + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK },
	{ NVL_CAP_MSIX + PCI_MSIX_FLAGS + 1,
	  (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8 },
	{ NVL_CAP_EXP + PCI_EXP_DEVCTL, 0xff },
	{ NVL_CAP_EXP + PCI_EXP_DEVCTL + 1, 0x7f },
};

static u8 nvl_config_mask(int where)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(nvl_config_writable); i++)
		if (nvl_config_writable[i].where == where)
			return nvl_config_writable[i].mask;
	return 0;
}

static void nvl_config_header(struct nvl_ctrl *ctrl)
{
	nvl_config_set(ctrl, PCI_VENDOR_ID, 2, NVL_PCI_VENDOR);
	nvl_config_set(ctrl, PCI_DEVICE_ID, 2, NVL_PCI_DEVICE);
	nvl_config_set(ctrl, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	nvl_config_set(ctrl, PCI_CLASS_REVISION, 4, PCI_CLASS_STORAGE_EXPRESS << 8 | 1);
	nvl_config_set(ctrl, PCI_SUBSYSTEM_VENDOR_ID, 2, NVL_PCI_VENDOR);
	nvl_config_set(ctrl, PCI_SUBSYSTEM_ID, 2, NVL_PCI_DEVICE);
	nvl_config_set(ctrl, PCI_CAPABILITY_LIST, 1, NVL_CAP_PM);
}

static void nvl_config_pm(struct nvl_ctrl *ctrl)
{
	nvl_config_set(ctrl, NVL_CAP_PM, 2, PCI_CAP_ID_PM | NVL_CAP_MSIX << 8);
	nvl_config_set(ctrl, NVL_CAP_PM + PCI_PM_PMC, 2, 3);
	nvl_config_set(ctrl, NVL_CAP_PM + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET);
}

static void nvl_config_msix(struct nvl_ctrl *ctrl)
{
	nvl_config_set(ctrl, NVL_CAP_MSIX, 2, PCI_CAP_ID_MSIX | NVL_CAP_EXP << 8);
	nvl_config_set(ctrl, NVL_CAP_MSIX + PCI_MSIX_FLAGS, 2, ctrl->irqs.nr - 1);
	nvl_config_set(ctrl, NVL_CAP_MSIX + PCI_MSIX_TABLE, 4, NVL_MSIX_TABLE);
	nvl_config_set(ctrl, NVL_CAP_MSIX + PCI_MSIX_PBA, 4, NVL_MSIX_PBA);
}

static void nvl_config_express(struct nvl_ctrl *ctrl)
{
	nvl_config_set(ctrl, NVL_CAP_EXP, 2, PCI_CAP_ID_EXP | NVL_CAP_EA << 8);
	nvl_config_set(ctrl, NVL_CAP_EXP + PCI_EXP_FLAGS, 2,
		       PCI_EXP_TYPE_RC_END << 4 | 2);
	nvl_config_set(ctrl, NVL_CAP_EXP + PCI_EXP_DEVCAP, 4,
		       PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
}

static void nvl_config_ea(struct nvl_ctrl *ctrl)
{
	u64 base = ctrl->window.start;
	int where = NVL_CAP_EA;

	nvl_config_set(ctrl, where, 4, PCI_CAP_ID_EA | 1 << 16);
	/* enabled, no secondary property, memory, BAR0, 3 more words after one */
	nvl_config_set(ctrl, where + 4, 4, PCI_EA_ENABLE | 0xff << 16 | 3);
	nvl_config_set(ctrl, where + 8, 4, lower_32_bits(base) | PCI_EA_IS_64);
	nvl_config_set(ctrl, where + 12, 4, NVL_BAR_SIZE - 4);
	nvl_config_set(ctrl, where + 16, 4, upper_32_bits(base));
}

static void nvl_config_init(struct nvl_ctrl *ctrl)
{
	nvl_config_header(ctrl);
	nvl_config_pm(ctrl);
	nvl_config_msix(ctrl);
	nvl_config_express(ctrl);
	nvl_config_ea(ctrl);
}

static void nvl_config_flr(struct nvl_ctrl *ctrl)
{
	nvl_config_set(ctrl, PCI_COMMAND, 2, 0);
	nvl_config_set(ctrl, NVL_CAP_EXP + PCI_EXP_DEVCTL, 2, 0);
	nvl_config_set(ctrl, NVL_CAP_MSIX + PCI_MSIX_FLAGS, 2, ctrl->irqs.nr - 1);
	WRITE_ONCE(ctrl->flrs, ctrl->flrs + 1);
}

/* Called with pci_lock held and interrupts off: only set flags. */
static void nvl_config_written(struct nvl_ctrl *ctrl)
{
	bool master = nvl_config16(ctrl, PCI_COMMAND) & PCI_COMMAND_MASTER;
	bool d0 = !(ctrl->config[NVL_CAP_PM + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK);

	WRITE_ONCE(ctrl->dma, master && d0);
	nvl_control_kick(ctrl);
	nvl_wake_poll(); /* resets and probes begin so, and CC comes next */
}

static struct nvl_ctrl *nvl_bus_ctrl(const struct pci_bus *bus)
{
	return container_of((struct pci_sysdata *)bus->sysdata, struct nvl_ctrl, sysdata);
}

static int nvl_config_read(struct pci_bus *bus, unsigned int devfn, int where,
			   int size, u32 *value)
{
	const struct nvl_ctrl *ctrl = nvl_bus_ctrl(bus);

	*value = ~0;
	if (devfn || test_bit(NVL_TROUBLE_UNPLUG, &ctrl->trouble))
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where < 0 || where + size > sizeof(ctrl->config))
		return PCIBIOS_BAD_REGISTER_NUMBER;
	/* reset, and late: the PCI core comes back until it reads something else */
	if (READ_ONCE(ctrl->flrs) != smp_load_acquire(&ctrl->flrs_done))
		return PCIBIOS_SUCCESSFUL;
	for (*value = 0; size--; )
		*value = *value << 8 | ctrl->config[where + size];
	return PCIBIOS_SUCCESSFUL;
}

static int nvl_config_write(struct pci_bus *bus, unsigned int devfn, int where,
			    int size, u32 value)
{
	struct nvl_ctrl *ctrl = nvl_bus_ctrl(bus);
	bool flr = false;

	if (devfn || test_bit(NVL_TROUBLE_UNPLUG, &ctrl->trouble))
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where < 0 || where + size > sizeof(ctrl->config))
		return PCIBIOS_BAD_REGISTER_NUMBER;
	for (; size--; where++, value >>= 8) {
		u8 mask = nvl_config_mask(where);

		ctrl->config[where] = (ctrl->config[where] & ~mask) | (value & mask);
		flr |= where == NVL_CAP_EXP + PCI_EXP_DEVCTL + 1 && value & 0x80;
	}
	if (flr)
		nvl_config_flr(ctrl);
	nvl_config_written(ctrl);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops nvl_pci_ops = {
	.read	= nvl_config_read,
	.write	= nvl_config_write,
};

/**
 * nvl_pci_ctrl() - the controller behind a device
 * @dev: any device
 *
 * Return: the controller, or NULL if @dev is not one of ours.
 */
struct nvl_ctrl *nvl_pci_ctrl(struct device *dev)
{
	struct pci_bus *bus;

	if (!dev || !dev_is_pci(dev))
		return NULL;
	bus = to_pci_dev(dev)->bus;
	return bus->ops == &nvl_pci_ops ? nvl_bus_ctrl(bus) : NULL;
}

/**
 * nvl_pci_msix_flags() - what the host has written to Message Control of MSI-X
 * @ctrl: the controller
 *
 * Return: PCI_MSIX_FLAGS_ENABLE, PCI_MSIX_FLAGS_MASKALL and others.
 */
u16 nvl_pci_msix_flags(const struct nvl_ctrl *ctrl)
{
	return nvl_config16(ctrl, NVL_CAP_MSIX + PCI_MSIX_FLAGS);
}

/**
 * nvl_pci_name() - the PCI address of a controller
 * @ctrl: the controller
 * @buf: for the address, such as "1000:00:00.0"
 * @len: bytes of @buf
 */
void nvl_pci_name(const struct nvl_ctrl *ctrl, char *buf, size_t len)
{
	snprintf(buf, len, "%04x:00:00.0", ctrl->sysdata.domain);
}

/* The copies go by physical addresses, so those must be what drivers give. */
static int nvl_pci_check(struct nvl_ctrl *ctrl)
{
	struct pci_dev *pdev = pci_get_slot(ctrl->bus, 0);
	struct iommu_domain *iommu;
	int err = 0;

	if (!pdev) {
		pr_err("%s: the PCI core did not find the function\n", ctrl->name);
		return -EIO;
	}
	iommu = iommu_get_domain_for_dev(&pdev->dev);
	if ((iommu && iommu->type != IOMMU_DOMAIN_IDENTITY) || get_dma_ops(&pdev->dev)) {
		pr_err("%s: an IOMMU translates its addresses\n", ctrl->name);
		err = -EOPNOTSUPP;
	} else if (pci_resource_start(pdev, 0) != ctrl->window.start ||
		   !pdev->resource[0].parent) {
		pr_err("%s: the PCI core did not take BAR0 where it is\n", ctrl->name);
		err = -EIO;
	}
	pci_dev_put(pdev);
	return err;
}

static int nvl_pci_create(struct nvl_ctrl *ctrl)
{
	struct resource busn = DEFINE_RES_NAMED(0, 1, "nvlab bus", IORESOURCE_BUS);
	LIST_HEAD(resources);

	ctrl->sysdata.domain = NVL_PCI_DOMAIN + ctrl->id;
	ctrl->sysdata.node = cpu_to_node(ctrl->workers[0].cpu);
	ctrl->busn = busn;
	pci_add_resource(&resources, &ctrl->busn);
	pci_add_resource(&resources, &ctrl->window);
	ctrl->bus = pci_create_root_bus(NULL, 0, &nvl_pci_ops, &ctrl->sysdata, &resources);
	if (!ctrl->bus) {
		pci_free_resource_list(&resources);
		return -ENOMEM;
	}
	dev_set_msi_domain(&ctrl->bus->dev, ctrl->irqs.msi);
	return 0;
}

/* What a hot-plug driver does when the link goes down. */
static void nvl_pci_unplug_work(struct work_struct *work)
{
	struct nvl_ctrl *ctrl = container_of(work, struct nvl_ctrl, unplug);
	struct pci_dev *pdev;

	pci_lock_rescan_remove();
	pdev = ctrl->bus ? pci_get_slot(ctrl->bus, 0) : NULL;
	if (pdev)
		pci_stop_and_remove_bus_device(pdev);
	pci_dev_put(pdev);
	pci_unlock_rescan_remove();
}

/**
 * nvl_pci_unplug() - the link is lost: have the PCI core notice
 * @ctrl: the controller, which reads as ones
 */
void nvl_pci_unplug(struct nvl_ctrl *ctrl)
{
	schedule_work(&ctrl->unplug);
}

/**
 * nvl_pci_init() - what must be there before anything runs
 * @ctrl: the controller
 */
void nvl_pci_init(struct nvl_ctrl *ctrl)
{
	INIT_WORK(&ctrl->unplug, nvl_pci_unplug_work);
}

/**
 * nvl_pci_add() - show the controller to the PCI core and to drivers
 * @ctrl: the controller, its workers and its control thread running
 *
 * Return: 0, -ENOMEM, -EOPNOTSUPP (an IOMMU is in the way), or -EIO.
 */
int nvl_pci_add(struct nvl_ctrl *ctrl)
{
	int err;

	nvl_config_init(ctrl);
	pci_lock_rescan_remove();
	err = nvl_pci_create(ctrl);
	if (err)
		goto unlock;
	pci_scan_child_bus(ctrl->bus);
	pci_bus_claim_resources(ctrl->bus);
	err = nvl_pci_check(ctrl);
	if (err)
		goto remove;
	pci_bus_add_devices(ctrl->bus);
	pci_unlock_rescan_remove();
	return 0;

remove:
	pci_stop_root_bus(ctrl->bus);
	pci_remove_root_bus(ctrl->bus);
unlock:
	pci_unlock_rescan_remove();
	return err;
}

/**
 * nvl_pci_remove() - unbind the driver and take the bus away
 * @ctrl: the controller; it must still answer, as the driver shuts it down
 */
void nvl_pci_remove(struct nvl_ctrl *ctrl)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(ctrl->bus);
	pci_remove_root_bus(ctrl->bus);
	ctrl->bus = NULL;
	pci_unlock_rescan_remove();
}
