// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Namespaces that a device begins with: /sys/kernel/config/nvlab/NAME/namespaces/NSID/.
 * Without any there is one, number 1, that is all of the device.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "nvlab.h"
#include "trace.h"

/**
 * struct nvl_space - a namespace that the user asked for
 * @item: its directory, whose name is the NSID
 * @device: whose it is
 * @nsid: its number
 * @size: bytes; 0 for all that is left
 * @block_size: bytes of a logical block; 0 for the device's
 * @attached: whether the controllers have it from the start
 */
struct nvl_space {
	struct config_item item;
	struct nvl_device *device;
	u32 nsid;
	u64 size;
	u32 block_size;
	bool attached;
};

static struct nvl_space *to_nvl_space(struct config_item *item)
{
	return container_of(item, struct nvl_space, item);
}

static int nvl_space_set_size(struct nvl_space *space, const char *text)
{
	return nvl_parse_size("size", text, &space->size);
}

static int nvl_space_set_block_size(struct nvl_space *space, const char *text)
{
	u32 size;
	int err = kstrtou32(text, 0, &size);

	if (err)
		return err;
	if (size && size != SZ_512 && size != SZ_4K)
		return -EINVAL;
	space->block_size = size;
	return 0;
}

static int nvl_space_set_attached(struct nvl_space *space, const char *text)
{
	return kstrtobool(text, &space->attached);
}

static ssize_t nvl_space_store(struct config_item *item, const char *page, size_t count,
			       int (*set)(struct nvl_space *space, const char *text))
{
	struct nvl_space *space = to_nvl_space(item);
	int err = -EBUSY;

	mutex_lock(&space->device->lock);
	if (!space->device->subsys)
		err = set(space, page);
	mutex_unlock(&space->device->lock);
	return err ?: count;
}

#define NVL_SPACE(_name, _text)								\
static ssize_t nvl_space_##_name##_show(struct config_item *item, char *page)		\
{											\
	const struct nvl_space *space = to_nvl_space(item);				\
											\
	return _text;									\
}											\
											\
static ssize_t nvl_space_##_name##_store(struct config_item *item, const char *page,	\
					 size_t count)					\
{											\
	return nvl_space_store(item, page, count, nvl_space_set_##_name);		\
}											\
CONFIGFS_ATTR(nvl_space_, _name)

NVL_SPACE(size, sysfs_emit(page, "%llu\n", space->size));
NVL_SPACE(block_size, sysfs_emit(page, "%u\n", space->block_size));
NVL_SPACE(attached, sysfs_emit(page, "%d\n", space->attached));

static struct configfs_attribute *nvl_space_attrs[] = {
	&nvl_space_attr_size,
	&nvl_space_attr_block_size,
	&nvl_space_attr_attached,
	NULL,
};

static void nvl_space_release(struct config_item *item)
{
	kfree(to_nvl_space(item));
}

static struct configfs_item_operations nvl_space_ops = {
	.release	= nvl_space_release,
};

static const struct config_item_type nvl_space_type = {
	.ct_item_ops	= &nvl_space_ops,
	.ct_attrs	= nvl_space_attrs,
	.ct_owner	= THIS_MODULE,
};

static int nvl_space_add(struct nvl_space *space)
{
	struct nvl_device *device = space->device;
	int err = 0;

	mutex_lock(&device->lock);
	if (device->subsys)
		err = -EBUSY;
	else if (device->spaces[space->nsid - 1])
		err = -EEXIST;	/* as another spelling of the number */
	else
		device->spaces[space->nsid - 1] = space;
	mutex_unlock(&device->lock);
	return err;
}

static struct config_item *nvl_space_make(struct config_group *group, const char *name)
{
	struct nvl_space *space;
	u32 nsid;
	int err = kstrtou32(name, 10, &nsid);

	if (err || !nsid || nsid > NVC_MAX_NS)
		return ERR_PTR(-EINVAL);
	space = kzalloc(sizeof(*space), GFP_KERNEL);
	if (!space)
		return ERR_PTR(-ENOMEM);
	space->device = container_of(group, struct nvl_device, namespaces);
	space->nsid = nsid;
	space->attached = true;
	err = nvl_space_add(space);
	if (err) {
		kfree(space);
		return ERR_PTR(err);
	}
	config_item_init_type_name(&space->item, name, &nvl_space_type);
	return &space->item;
}

/* One that is there stays until the power goes off. */
static void nvl_space_drop(struct config_group *group, struct config_item *item)
{
	struct nvl_space *space = to_nvl_space(item);

	mutex_lock(&space->device->lock);
	space->device->spaces[space->nsid - 1] = NULL;
	mutex_unlock(&space->device->lock);
	config_item_put(item);
}

static struct configfs_group_operations nvl_spaces_ops = {
	.make_item	= nvl_space_make,
	.drop_item	= nvl_space_drop,
};

static const struct config_item_type nvl_spaces_type = {
	.ct_group_ops	= &nvl_spaces_ops,
	.ct_owner	= THIS_MODULE,
};

/**
 * nvl_spaces_init() - give a device a directory for namespaces
 * @device: the device, its own directory set up but not yet seen
 */
void nvl_spaces_init(struct nvl_device *device)
{
	config_group_init_type_name(&device->namespaces, "namespaces", &nvl_spaces_type);
	configfs_add_default_group(&device->namespaces, &device->group);
}

static int nvl_space_create(struct nvl_subsys *subsys, const struct nvl_space *space)
{
	u32 shift = ilog2(space->block_size ?: subsys->set->block_size);
	struct nvc_ns_change change = {
		.op = NVC_NS_CREATE,
		.nsid = space->nsid,
		.block_shift = shift,
		.value = space->attached ? nvl_all_ctrls(subsys) : 0,
	};
	u64 size = space->size;
	int err;

	if (!size)
		nvc_ns_free(subsys->core, &size);
	change.blocks = size >> shift;
	err = nvl_core_ns(subsys, &change);
	if (err)
		pr_err("%s: namespace %u of %llu bytes does not fit, or is not whole blocks\n",
		       subsys->name, space->nsid, size);
	return err;
}

/* Those of a given size first: the others take what is left. */
static int nvl_spaces_create(struct nvl_subsys *subsys, struct nvl_device *device, bool sized)
{
	int err = 0;
	u32 i;

	for (i = 0; i < NVC_MAX_NS && !err; i++)
		if (device->spaces[i] && !!device->spaces[i]->size == sized)
			err = nvl_space_create(subsys, device->spaces[i]);
	return err;
}

/**
 * nvl_spaces_make() - give a new core the namespaces that the user asked for
 * @subsys: the subsystem, without controllers
 * @device: whose namespaces, locked
 *
 * Return: 0, -ENOSPC, or -EINVAL.
 */
int nvl_spaces_make(struct nvl_subsys *subsys, struct nvl_device *device)
{
	struct nvc_ns_change all = { .op = NVC_NS_DELETE, .nsid = 1 };

	if (!memchr_inv(device->spaces, 0, sizeof(device->spaces)))
		return 0;
	if (nvl_has_sets(&device->set)) {
		pr_err("%s: a device with zones or keys has the namespaces that its medium says, no others\n",
		       subsys->name);
		return -EINVAL;
	}
	return nvl_core_ns(subsys, &all) ?:
	       nvl_spaces_create(subsys, device, true) ?:
	       nvl_spaces_create(subsys, device, false);
}
