"""A part of Spark's SQL, evaluated by Arrow: expressions over the rows of a table, and their aggregates by groups.

An expression whose result could differ from Spark's is left to Spark: ``OnlySpark`` says why.
"""
