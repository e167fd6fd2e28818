/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between the kernels this builds for. Kbuild finds out and says HAVE_. */
#ifndef NVLAB_COMPAT_H
#define NVLAB_COMPAT_H

#ifdef HAVE_LINUX_UNALIGNED_H
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#endif
