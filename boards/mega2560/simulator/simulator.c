/* SPDX-License-Identifier: MIT
 *
 * Runs an image on simavr's ATmega2560:
 *
 *     simulator IMAGE [--listen FD] [--store FILE]
 *
 * Its UART 0 is the link: of whoever connects to the listening socket FD, or
 * standard input and output. FILE, of 4,096 bytes, is the EEPROM; without it
 * that ends with the simulator. At the end (SIGTERM, or when the program
 * sleeps with interrupts off or wants more standard input than there is) it
 * says on stderr how many cycles there were.
 */
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <simavr/avr_eeprom.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define CPU "atmega2560"
#define CLOCK_HZ 16000000u
#define EEPROM_BYTES 4096u
#define UCSR0B 0xC1u            // of the chip
#define RXEN0 0x10u
#define BATCH_CYCLES 20000u     // between two looks at the link
#define IDLE_POLLS 2000u        // of the UART, in vain: the program waits
#define IDLE_MS 20
#define QUIET_CYCLES (CLOCK_HZ / 2) // without a byte: no faster than a board

struct link {
    int listener, in, out;      /* -1: none */
    uint8_t queue[4096];        /* from the host */
    uint32_t first, end;
    uint8_t sent[4096];         /* to the host */
    uint32_t sent_count;
    int full;                   /* 1: the UART takes no more */
    uint32_t polls;             /* of the program since the last byte */
    avr_cycle_count_t last;     /* when that was */
    avr_t *avr;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "simulator: %s\n", what);
    exit(1);
}

static void note_byte(struct link *l)
{
    l->polls = 0;
    l->last = l->avr->cycle;
}

static void hang_up(struct link *l)
{
    if (l->listener >= 0)
        close(l->in);
    l->in = l->out = -1;
    l->first = l->end = 0;
}

static void flush(struct link *l)
{
    for (uint32_t at = 0; l->out >= 0 && at < l->sent_count && !ended;) {
        ssize_t put = write(l->out, l->sent + at, l->sent_count - at);
        if (put <= 0)
            hang_up(l);
        else
            at += (uint32_t)put;
    }
    l->sent_count = 0;
}

static void on_output(avr_irq_t *irq, uint32_t value, void *param)
{
    struct link *l = param;
    (void)irq;
    l->sent[l->sent_count++] = (uint8_t)value;
    note_byte(l);
    if (l->sent_count == sizeof l->sent)
        flush(l);
}

/* The program looked at the UART and found nothing. */
static void on_room(avr_irq_t *irq, uint32_t value, void *param)
{
    struct link *l = param;
    (void)irq;
    if (value) {
        l->full = 0;
        l->polls++;
    }
}

static void on_full(avr_irq_t *irq, uint32_t value, void *param)
{
    struct link *l = param;
    (void)irq;
    if (value)
        l->full = 1;
}

static void feed(struct link *l, avr_irq_t *input)
{
    while (l->first < l->end && !l->full && (l->avr->data[UCSR0B] & RXEN0)) {
        note_byte(l);
        avr_raise_irq(input, l->queue[l->first++]);
    }
}

/* Takes what the host sent, or who connects; waits for it up to `wait_ms`. */
static void look(struct link *l, int wait_ms)
{
    struct pollfd one = { .fd = l->in >= 0 ? l->in : l->listener,
                          .events = POLLIN };
    if (l->first < l->end || poll(&one, 1, wait_ms) <= 0)
        return;
    if (l->in < 0) {
        l->in = l->out = accept(l->listener, NULL, NULL);
        return;
    }
    ssize_t got = read(l->in, l->queue, sizeof l->queue);
    l->first = 0;
    l->end = got > 0 ? (uint32_t)got : 0;
    if (got > 0)
        return;
    if (l->listener >= 0)
        hang_up(l);
    else
        l->in = -1; // the end of standard input
}

/* The EEPROM is the file from here on. */
static void map_store(avr_t *avr, const char *name)
{
    int file = open(name, O_RDWR);
    off_t bytes = file < 0 ? 0 : lseek(file, 0, SEEK_END);
    if (bytes != (off_t)EEPROM_BYTES)
        fail("the store is no file of 4,096 bytes");
    uint8_t *map = mmap(NULL, EEPROM_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED, file, 0);
    avr_io_t *io = avr->io_port;
    while (io && strcmp(io->kind, "eeprom") != 0)
        io = io->next;
    if (map == MAP_FAILED || !io)
        fail("the store cannot be used");
    ((avr_eeprom_t *)io)->eeprom = map; // its first member is `io`
}

/* A program that sleeps costs no time here. */
static void no_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

static avr_t *load(const char *image)
{
    static elf_firmware_t firmware;
    avr_t *avr = avr_make_mcu_by_name(CPU);
    if (!avr || elf_read_firmware(image, &firmware))
        fail("no such CPU or image");
    (void)strcpy(firmware.mmcu, CPU);
    firmware.frequency = CLOCK_HZ;
    avr->log = LOG_ERROR;
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr->sleep = no_sleep;
    return avr;
}

static void connect_uart(avr_t *avr, struct link *l)
{
    uint32_t flags = 0, uart = AVR_IOCTL_UART_GETIRQ('0');
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUTPUT),
                            on_output, l);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XON),
                            on_room, l);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XOFF),
                            on_full, l);
}

/* Runs until the end. */
static int run(avr_t *avr, struct link *l)
{
    avr_irq_t *input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'),
                                     UART_IRQ_INPUT);
    int state = cpu_Running;
    while (!ended && state != cpu_Done && state != cpu_Crashed) {
        avr_cycle_count_t stop = avr->cycle + BATCH_CYCLES;
        while (avr->cycle < stop && state != cpu_Done
               && state != cpu_Crashed)
            state = avr_run(avr);
        flush(l);
        int wait_ms = 0;
        if (l->polls > IDLE_POLLS)
            wait_ms = IDLE_MS;
        else if (avr->cycle - l->last > QUIET_CYCLES)
            wait_ms = 1; // of simulated time these are 1.25 ms
        if (l->in >= 0 || l->listener >= 0)
            look(l, wait_ms);
        else if (wait_ms == IDLE_MS && l->first == l->end)
            break; // it waits for more input than there is
        feed(l, input);
    }
    return state;
}

int main(int count, char **argument)
{
    struct link l = { .listener = -1, .in = 0, .out = dup(1) };
    const char *store = NULL;
    if (count < 2 || count % 2)
        fail("use: simulator IMAGE [--listen FD] [--store FILE]");
    for (int i = 2; i < count; i += 2) {
        if (strcmp(argument[i], "--listen") == 0)
            l.listener = (int)strtol(argument[i + 1], NULL, 10);
        else if (strcmp(argument[i], "--store") == 0)
            store = argument[i + 1];
        else
            fail(argument[i]);
    }
    if (l.listener >= 0)
        l.in = l.out = -1;
    (void)dup2(2, 1); // simavr talks
    struct sigaction action = { .sa_handler = on_signal };
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    l.avr = load(argument[1]);
    if (store)
        map_store(l.avr, store);
    connect_uart(l.avr, &l);
    int state = run(l.avr, &l);
    (void)fprintf(stderr, "%llu cycles\n",
                  (unsigned long long)l.avr->cycle);
    return state == cpu_Crashed;
}
