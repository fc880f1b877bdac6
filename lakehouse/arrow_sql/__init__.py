"""A part of Spark's SQL, evaluated by Arrow: expressions over the rows of a table, and their aggregates by groups.

What is not surely the same as in Spark is left to Spark: ``OnlySpark`` says why.
"""
