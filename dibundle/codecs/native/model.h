/* The tables of the model, which library.c fills. */
#ifndef DIB_MODEL_H
#define DIB_MODEL_H

void model_fill_tables(void);

#endif
