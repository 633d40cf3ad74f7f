/* Makes the system calls of its standard input, one a line, each in a child of its own:

       MODE NUMBER ARGUMENT...      MODE is "native" or "int80"

   An argument is a number, "@" for the address of 4096 zero bytes, or "=text" for that of a text.
   Answers one line a call: "= RESULT", "errno NUMBER" or "signal NUMBER". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char zeros[4096] __attribute__((aligned(4096)));

static long argument(char *word)
{
    if (!word) return 0;
    if (*word == '@') return (long)zeros;
    if (*word == '=') return (long)(word + 1);
    return (long)strtoull(word, NULL, 0);
}

static long int80(long number)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0L) : "memory", "r8", "r9", "r10", "r11");
    return result;
#else
    (void)number;
    return -ENOSYS;
#endif
}

static void make_call(char *line)
{
    char *mode = strtok(line, " \n"), *number = strtok(NULL, " \n");
    long a[6], result;
    pid_t me = getpid();
    for (int i = 0; i < 6; i++) a[i] = argument(strtok(NULL, " \n"));
    errno = 0;
    if (!strcmp(mode, "int80")) result = int80(argument(number));
    else result = syscall(argument(number), a[0], a[1], a[2], a[3], a[4], a[5]);
    if (getpid() != me) _exit(0); /* a clone of us */
    if (result == -1 && errno) dprintf(1, "errno %d\n", errno);
    else dprintf(1, "= %ld\n", result);
    _exit(0);
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        int status;
        pid_t child = fork();
        if (child == 0) make_call(line);
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) dprintf(1, "signal %d\n", WTERMSIG(status));
    }
    return 0;
}
