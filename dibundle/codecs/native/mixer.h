/* The tables of the mixer, which library.c fills. */
#ifndef DIB_MIXER_H
#define DIB_MIXER_H

void mixer_fill_tables(void);

#endif
