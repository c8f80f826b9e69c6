/* The floor: the least work that makes a lab's kernel objects, by bare netlink from one process.
 *
 *   floor ring|star N DIRECTORY
 *
 * Makes N hosts, each with pid, net, mnt, uts and ipc namespaces of its own and a copy-on-write root over
 * the machine's, and the ring's or the star's links; says "up"; waits for a line on its input or for the
 * input's end; kills the hosts, waits for every one of them, and exits. All of it lives in this process's own
 * mount and network namespaces and dies with it. DIRECTORY is an empty folder to mount a tmpfs on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PORTS_PER_BRIDGE = 100,
    FIRST_INDEX = 100, /* a host's first interface index: above anything a new namespace is born with */
    FIRST_PORT_INDEX = 10000, /* a bridge port's first interface index */
    BATCH = 32,        /* messages per send */
};

struct host {
    pid_t pid;
    int pidfd;
    int ports;
    uint32_t address[2];
};

struct batch {
    int socket;
    int messages;
    size_t length;
    _Alignas(struct nlmsghdr) char bytes[16384];
};

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- hosts ------------------------------------------------------------------------------------------- */

/* A clone copies every mount of its maker, so the maker keeps only / and its own tmpfs. */
static void enter_own_namespaces(const char *directory)
{
    static char targets[4096][256];
    int count = 0;
    FILE *mounts = fopen("/proc/self/mounts", "r");

    if (!mounts)
        die("/proc/self/mounts");
    while (count < 4096 && fscanf(mounts, "%*s %255s %*[^\n]", targets[count]) == 1)
        count++;
    fclose(mounts);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        die("own namespaces");
    while (count-- > 0)
        if (strcmp(targets[count], "/"))
            umount2(targets[count], MNT_DETACH); /* what stays mounted only costs time */
    if (mount("floor", directory, "tmpfs", 0, NULL) || chdir(directory))
        die("tmpfs");
}

/* In the child, whose working folder is the tmpfs: a root of its own, its name, its /proc. */
static int isolate(int number)
{
    char folder[16], options[128], name[16];

    snprintf(folder, sizeof folder, "%d", number);
    snprintf(name, sizeof name, "h%d", number + 1);
    if (mkdir(folder, 0755) || chdir(folder) || mkdir("upper", 0755) || mkdir("work", 0755) || mkdir("root", 0755))
        return -1;
    snprintf(options, sizeof options, "lowerdir=/,upperdir=upper,workdir=work");
    if (mount("floor", "root", "overlay", 0, options) || chdir("root"))
        return -1;
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return -1;
    if (mount("proc", "/proc", "proc", 0, NULL))
        return -1;
    return sethostname(name, strlen(name));
}

static void make_host(struct host *host, int number, int ready)
{
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_PIDFD,
        .exit_signal = SIGCHLD,
        .pidfd = (uintptr_t)&host->pidfd,
    };

    host->pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (host->pid < 0)
        die("clone3");
    if (host->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN); /* as pid 1 it is given orphans: the kernel reaps them */
    int failed = isolate(number) ? errno : 0;
    if (write(ready, &failed, sizeof failed) != sizeof failed || failed)
        _exit(1);
    for (;;)
        pause();
}

static void wait_for_hosts(int ready, int count)
{
    for (int failed; count > 0; count--)
        if (read(ready, &failed, sizeof failed) != sizeof failed || (errno = failed))
            die("a host's root");
}

/* --- netlink ----------------------------------------------------------------------------------------- */

static void flush(struct batch *batch)
{
    char answers[16384];

    if (batch->messages && send(batch->socket, batch->bytes, batch->length, 0) < 0)
        die("netlink send");
    while (batch->messages > 0) {
        ssize_t length = recv(batch->socket, answers, sizeof answers, 0);
        if (length < 0)
            die("netlink receive");
        for (struct nlmsghdr *m = (void *)answers; NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
            struct nlmsgerr *answer = NLMSG_DATA(m);
            if (m->nlmsg_type == NLMSG_ERROR && (errno = -answer->error))
                die("netlink");
            batch->messages--;
        }
    }
    batch->length = 0;
}

static void open_batch(struct batch *batch)
{
    int yes = 1;

    batch->messages = 0;
    batch->length = 0;
    batch->socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (batch->socket < 0)
        die("netlink socket");
    setsockopt(batch->socket, SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
}

static void *reserve(struct batch *batch, size_t length)
{
    void *place = memset(batch->bytes + batch->length, 0, NLMSG_ALIGN(length));

    batch->length += NLMSG_ALIGN(length);
    return place;
}

static struct rtattr *attribute(struct batch *batch, int type, const void *value, size_t length)
{
    struct rtattr *attribute = reserve(batch, RTA_LENGTH(length));

    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(length);
    if (length)
        memcpy(RTA_DATA(attribute), value, length);
    return attribute;
}

static void attribute_u32(struct batch *batch, int type, uint32_t value)
{
    attribute(batch, type, &value, sizeof value);
}

static void attribute_text(struct batch *batch, int type, const char *text)
{
    attribute(batch, type, text, strlen(text) + 1);
}

static void close_nest(struct batch *batch, struct rtattr *nest)
{
    nest->rta_len = batch->bytes + batch->length - (char *)nest;
}

static struct nlmsghdr *begin(struct batch *batch, int type, int flags)
{
    if (batch->messages == BATCH)
        flush(batch);
    struct nlmsghdr *message = reserve(batch, sizeof *message);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    return message;
}

static void end(struct batch *batch, struct nlmsghdr *message)
{
    message->nlmsg_len = batch->bytes + batch->length - (char *)message;
    batch->messages++;
}

static void interface_header(struct batch *batch, int index, int up)
{
    struct ifinfomsg *header = reserve(batch, sizeof *header);

    header->ifi_index = index;
    header->ifi_flags = header->ifi_change = up ? IFF_UP : 0;
}

/* --- objects ----------------------------------------------------------------------------------------- */

static void add_bridge(struct batch *batch, int index, const char *name)
{
    struct nlmsghdr *message = begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);

    interface_header(batch, index, 1);
    attribute_text(batch, IFLA_IFNAME, name);
    struct rtattr *info = attribute(batch, IFLA_LINKINFO, NULL, 0);
    attribute_text(batch, IFLA_INFO_KIND, "bridge");
    close_nest(batch, info);
    end(batch, message);
}

static void place_in_host(struct batch *batch, struct host *host)
{
    char name[16];

    snprintf(name, sizeof name, "eth%d", host->ports++);
    attribute_text(batch, IFLA_IFNAME, name);
    attribute_u32(batch, IFLA_NET_NS_PID, host->pid);
}

/* A veth whose far end is the host's next port; its near end is born up: another host's next port or, without
 * one, port `number` of a bridge. The kernel honours the far end's index only where the near end has one. */
static void add_veth(struct batch *batch, struct host *near, int bridge, int number, struct host *far)
{
    struct nlmsghdr *message = begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);

    interface_header(batch, near ? FIRST_INDEX + near->ports : FIRST_PORT_INDEX + number, 1);
    if (near) {
        place_in_host(batch, near);
    } else {
        char name[16];
        snprintf(name, sizeof name, "p%d", number + 1);
        attribute_text(batch, IFLA_IFNAME, name);
        attribute_u32(batch, IFLA_MASTER, bridge);
    }
    struct rtattr *info = attribute(batch, IFLA_LINKINFO, NULL, 0);
    attribute_text(batch, IFLA_INFO_KIND, "veth");
    struct rtattr *data = attribute(batch, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = attribute(batch, VETH_INFO_PEER, NULL, 0);
    interface_header(batch, FIRST_INDEX + far->ports, 0);
    place_in_host(batch, far);
    close_nest(batch, peer);
    close_nest(batch, data);
    close_nest(batch, info);
    end(batch, message);
}

static void set_up(struct batch *batch, int index)
{
    struct nlmsghdr *message = begin(batch, RTM_NEWLINK, 0);

    interface_header(batch, index, 1);
    end(batch, message);
}

static void add_address(struct batch *batch, int index, uint32_t address, int prefix)
{
    struct nlmsghdr *message = begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *header = reserve(batch, sizeof *header);

    header->ifa_family = AF_INET;
    header->ifa_prefixlen = prefix;
    header->ifa_index = index;
    attribute_u32(batch, IFA_LOCAL, htonl(address));
    attribute_u32(batch, IFA_ADDRESS, htonl(address));
    end(batch, message);
}

/* Inside the host: loopback and ports up, one address on each port, all in one send. */
static void configure(struct host *host, int prefix)
{
    struct batch batch;

    if (setns(host->pidfd, CLONE_NEWNET))
        die("setns");
    open_batch(&batch);
    set_up(&batch, 1);
    for (int port = 0; port < host->ports; port++) {
        set_up(&batch, FIRST_INDEX + port);
        add_address(&batch, FIRST_INDEX + port, host->address[port], prefix);
    }
    flush(&batch);
    close(batch.socket);
}

static void make_ring(struct batch *batch, struct host *hosts, int count)
{
    const uint32_t base = 10u << 24;

    for (int i = 0; i < count; i++) {
        struct host *near = &hosts[i], *far = &hosts[(i + 1) % count];
        near->address[near->ports] = base + 2 * i;
        far->address[far->ports] = base + 2 * i + 1;
        add_veth(batch, near, 0, 0, far);
    }
}

static void make_star(struct batch *batch, struct host *hosts, int count)
{
    char name[16];

    for (int bridge = 0; bridge * PORTS_PER_BRIDGE < count; bridge++) {
        snprintf(name, sizeof name, "sw%d", bridge + 1);
        add_bridge(batch, FIRST_INDEX + bridge, name);
    }
    for (int i = 0; i < count; i++) {
        int bridge = i / PORTS_PER_BRIDGE, port = i % PORTS_PER_BRIDGE + 1;
        hosts[i].address[0] = (10u << 24) + ((uint32_t)bridge << 16) + port;
        add_veth(batch, NULL, FIRST_INDEX + bridge, i, &hosts[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || atoi(argv[2]) < 3) {
        fprintf(stderr, "usage: floor ring|star N DIRECTORY\n");
        return 2;
    }
    int ring = !strcmp(argv[1], "ring"), count = atoi(argv[2]), ready[2];
    struct host *hosts = calloc(count, sizeof *hosts);
    struct batch batch;
    struct rlimit files;
    char line;

    getrlimit(RLIMIT_NOFILE, &files); /* a descriptor per host */
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!hosts || pipe2(ready, O_CLOEXEC))
        die("start");
    enter_own_namespaces(argv[3]);
    for (int i = 0; i < count; i++)
        make_host(&hosts[i], i, ready[1]);
    open_batch(&batch);
    ring ? make_ring(&batch, hosts, count) : make_star(&batch, hosts, count);
    flush(&batch);
    for (int i = 0; i < count; i++)
        configure(&hosts[i], ring ? 31 : 16);
    wait_for_hosts(ready[0], count);
    if (puts("up") < 0 || fflush(stdout))
        die("output");

    if (read(STDIN_FILENO, &line, 1) < 0)
        die("input");
    for (int i = 0; i < count; i++)
        kill(hosts[i].pid, SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(hosts[i].pid, NULL, 0);
    return 0;
}
